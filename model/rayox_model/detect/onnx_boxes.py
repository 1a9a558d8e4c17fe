"""From the output of an ONNX file of the official layout to detections, in numpy alone.

This file travels with every registered model: it needs neither rayox nor torch, and so has no shapes in its
signatures. K anchor points, C classes, D detections; boxes are xyxy float32 pixels of the network's input.
"""

from functools import lru_cache

import numpy as np

STRIDES = (8, 16, 32)


@lru_cache(maxsize=8)
def anchor_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells (x, y) [K, 2] and strides [K, 1] of an input, stride 8 first, row by row; not to be written."""
    cells = [np.mgrid[: height // s, : width // s].reshape(2, -1)[::-1].T for s in STRIDES]
    strides = [np.full((len(c), 1), s, np.float32) for c, s in zip(cells, STRIDES, strict=True)]
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides)


def detect_in_output(
    output: np.ndarray, size: tuple[int, int], layout: str, score_threshold: float, nms_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [D, 4], scores [D] and labels [D] of one image's output [K, 5 + C] at size (height, width), the best first.

    The output has four numbers of a box, which layout tells the meaning of, then objectness and classes as
    probabilities; a score is their product. A box that is not finite is dropped.
    """
    labels = output[:, 5:].argmax(axis=1)
    scores = output[:, 4] * output[:, 5:].max(axis=1)
    found = np.flatnonzero(scores >= score_threshold)
    boxes = decode_boxes(output[:, :4], size, layout, found)
    finite = np.isfinite(boxes).all(axis=1)
    boxes, scores, labels = boxes[finite], scores[found][finite], labels[found][finite]
    kept = keep_best(boxes, scores, labels, nms_threshold)
    return boxes[kept], scores[kept], labels[kept]


def decode_boxes(numbers: np.ndarray, size: tuple[int, int], layout: str, wanted: np.ndarray) -> np.ndarray:
    """Boxes of wanted anchor points; layout is raw, centers ([x, y, width, height]) or corners, both in pixels.

    raw is the head's own: centre (t + grid) · stride, size exp(t) · stride (YOLOX, arXiv:2107.08430, Sec. 2.1).
    """
    numbers = numbers[wanted]
    if layout == "corners":
        return numbers
    if layout == "centers":
        centers, half_sizes = numbers[:, :2], numbers[:, 2:] / 2
    else:
        grid, strides = (part[wanted] for part in anchor_grid(*size))
        centers = (numbers[:, :2] + grid) * strides
        with np.errstate(over="ignore"):  # a network that has gone astray has boxes without end, not a warning
            half_sizes = np.exp(numbers[:, 2:]) * (strides * np.float32(0.5))
    return np.concatenate([centers - half_sizes, centers + half_sizes], axis=1)


def keep_best(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, nms_threshold: float) -> np.ndarray:
    """Indices of boxes that overlap no better one of their class by more (IoU) than nms_threshold; the best first."""
    left = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        corners = np.maximum(boxes[best, :2], boxes[left, :2])
        sides = np.maximum(np.minimum(boxes[best, 2:], boxes[left, 2:]) - corners, 0)
        shared = sides[:, 0] * sides[:, 1]
        with np.errstate(invalid="ignore"):
            overlap = shared / (areas[best] + areas[left] - shared)
        left = left[~(overlap > nms_threshold) | (labels[left] != labels[best])]
    return np.array(kept, np.int64)
