"""Why an evaluation gave AP 0: the causes that can be told from the detections and the annotations, checked in turn.

G boxes of one image, D detections of one image.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset

OVERLAP = 0.5  # the least IoU that any of the COCO metrics takes for a hit
MOST_IMAGES = 500  # that are looked at: the first ones


@dataclass(frozen=True)
class Progress:
    """How far the training was."""

    step: int
    warmup_steps: int


@dataclass(frozen=True)
class _Matched:
    """The best overlap that the annotated boxes have with any detection, whatever its class."""

    overlap: float
    as_corners: float  # if bbox is read as [x1, y1, x2, y2]
    pairs: Counter[tuple[int, int]]  # (annotated, detected) labels of those that overlap by OVERLAP


def diagnose(
    dataset: CocoDataset,
    detections: Mapping[int, Detections],
    score_threshold: float,
    highest_score: Callable[[], float],
    progress: Progress,
) -> str:
    """One line: the cause and what to do.

    detections are by image index; highest_score looks for the best detection below the threshold too, and is called
    only when there is none above.
    """
    early = ""
    if progress.step <= 2 * progress.warmup_steps:
        early = (
            f"; the warm-up ends at step {progress.warmup_steps} and this was step {progress.step}: it may be too early"
        )
    return f"AP is 0: {_cause(dataset, detections, score_threshold, highest_score)}{early}"


def _cause(
    dataset: CocoDataset,
    detections: Mapping[int, Detections],
    score_threshold: float,
    highest_score: Callable[[], float],
) -> str:
    found = {index for index, one in detections.items() if len(one.scores)}
    if not found:
        return (
            f"no detection reaches eval.score_threshold {score_threshold:g}; the highest score is "
            f"{highest_score():.2g}: train longer, or look whether the loss falls (`rayox train RECIPE --smoke`)"
        )
    annotated = set(np.flatnonzero(np.diff(dataset.offsets)).tolist())
    if not found & annotated:
        return (
            f"the {len(found)} images with detections and the {len(annotated)} with annotations are not the same ones: "
            f"look whether image_id in {dataset.source} names the right images (`rayox data check`)"
        )
    matched = _match(dataset, detections, sorted(found & annotated)[:MOST_IMAGES])
    if matched.overlap < OVERLAP:
        return _no_overlap(dataset, matched)
    right = sum(count for (wanted, given), count in matched.pairs.items() if wanted == given)
    if not right:
        (wanted, given), count = matched.pairs.most_common(1)[0]
        return (
            f"detections overlap the boxes (IoU up to {matched.overlap:.2f}) but are of another class, most often "
            f"{dataset.classes[given]} on what is annotated as {dataset.classes[wanted]} ({count} of "
            f"{matched.pairs.total()}): look whether category ids mean the same in the training file and in "
            f"{dataset.source} ({_class_map(dataset)})"
        )
    return (
        f"{right} boxes are found (IoU up to {matched.overlap:.2f}, right class), but behind too many false ones, or "
        "they are crowds: train longer"
    )


def _no_overlap(dataset: CocoDataset, matched: _Matched) -> str:
    if matched.as_corners >= OVERLAP:
        return (
            f"no detection overlaps a box by {OVERLAP:g} (best IoU {matched.overlap:.2f}), but by "
            f"{matched.as_corners:.2f} if bbox is read as [x1, y1, x2, y2]: {dataset.source} has corners where COCO "
            "has [x, y, width, height] (`rayox data check FILE --fix OUT` converts them)"
        )
    return (
        f"detections are made but none overlaps a box by {OVERLAP:g} (best IoU {matched.overlap:.2f}): train longer; "
        "if it stays so, look at what is trained (`rayox data show RECIPE --step 0`)"
    )


def _match(dataset: CocoDataset, detections: Mapping[int, Detections], indices: list[int]) -> _Matched:
    overlap, as_corners, pairs = 0.0, 0.0, Counter[tuple[int, int]]()
    for index in indices:
        rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
        written, labels, found = dataset.bboxes_xywh[rows], dataset.labels[rows], detections[index]
        boxes = np.concatenate([written[:, :2], written[:, :2] + written[:, 2:]], axis=1)
        ious = _ious(boxes, found.boxes.astype(np.float64))  # [G, D]
        overlap = max(overlap, float(ious.max()))
        as_corners = max(as_corners, float(_ious(written, found.boxes.astype(np.float64)).max()))
        for box, detection in zip(*np.nonzero(ious >= OVERLAP), strict=True):
            pairs[int(labels[box]), int(found.labels[detection])] += 1
    return _Matched(overlap, as_corners, pairs)


def _ious(boxes: Float64[np.ndarray, "G 4"], others: Float64[np.ndarray, "D 4"]) -> Float64[np.ndarray, "G D"]:
    """Boxes without area, or with corners the wrong way round, overlap nothing."""
    corners = np.maximum(boxes[:, None, :2], others[None, :, :2]), np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (corners[1] - corners[0]).clip(min=0).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2]).clip(min=0).prod(axis=1) for one in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.where(union > 0, shared / np.maximum(union, 1e-9), 0.0))


def _class_map(dataset: CocoDataset, most: int = 6) -> str:
    ids = zip(dataset.category_ids.tolist(), dataset.classes, strict=True)
    told = [f"{category_id} {name}" for category_id, name in ids]
    return ", ".join(told[:most]) + (", …" if len(told) > most else "")
