"""Detections drawn on images, readable on a thumbnail and on a poster."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rayox_model.core.samples import Detections

Colour = tuple[int, int, int]  # BGR

# Okabe and Ito's colours, which the common kinds of colour blindness keep apart; black left out.
PALETTE: tuple[Colour, ...] = (
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (115, 158, 0),  # bluish green
    (66, 228, 240),  # yellow
    (178, 114, 0),  # blue
    (0, 94, 213),  # vermilion
    (167, 121, 204),  # reddish purple
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_EDGE: Colour = (0, 0, 0)


def draw_detections(
    image: UInt8[np.ndarray, "H W 3"], detections: Detections, classes: Sequence[str]
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the image with boxes (in its pixels), class names and scores; the highest score lies on top.

    Lines and letters grow with the image. Without detections it is a plain copy.
    """
    texts = [f"{classes[label]} {score:.2f}" for label, score in zip(detections.labels, detections.scores, strict=True)]
    return draw_boxes(image, detections.boxes, detections.labels, texts)


def draw_boxes(
    image: UInt8[np.ndarray, "H W 3"],
    boxes: Float32[np.ndarray, "N 4"],
    labels: Int64[np.ndarray, "N"],
    texts: Sequence[str],
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the image with boxes in the colours of their labels, each with its text; the first lies on top."""
    drawn = image.copy()
    for box, label, text in reversed(list(zip(boxes, labels.tolist(), texts, strict=True))):
        _draw_box(drawn, _corners(box, drawn.shape), text, PALETTE[label % len(PALETTE)])
    return drawn


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "_h _w 3"]], num_columns: int = 6, tile: int = 320
) -> UInt8[np.ndarray, "H W 3"]:
    """Images side by side, row by row, each fitted into a square tile; without images one empty tile."""
    num_columns = max(min(num_columns, len(images)), 1)
    num_rows = max(-(-len(images) // num_columns), 1)
    sheet = np.full((num_rows * tile, num_columns * tile, 3), 32, np.uint8)
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        scale = (tile - 4) / max(height, width)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        top, left = number // num_columns * tile, number % num_columns * tile
        shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        sheet[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=shrinks)
    return sheet


def _corners(box: Float32[np.ndarray, "4"], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box in whole pixels, cut to the image."""
    limits = np.array([shape[1], shape[0], shape[1], shape[0]]) - 1
    left, top, right, bottom = np.clip(np.rint(box), 0, limits).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _draw_box(image: UInt8[np.ndarray, "H W 3"], box: tuple[int, int, int, int], text: str, colour: Colour) -> None:
    left, top, right, bottom = box
    size = float(np.sqrt(image.shape[0] * image.shape[1]))
    line = max(round(size / 280), 2)  # one pixel would drown in its dark edge
    cv2.rectangle(image, (left, top), (right, bottom), _EDGE, line + 2)
    cv2.rectangle(image, (left, top), (right, bottom), colour, line)
    _draw_label(image, (left, top), text, colour, scale=max(size / 1100, 0.35))


def _draw_label(
    image: UInt8[np.ndarray, "H W 3"], corner: tuple[int, int], text: str, colour: Colour, scale: float
) -> None:
    """A filled label above the corner, moved so that it stays inside the image."""
    thickness = max(round(scale * 1.4), 1)
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(round(3 * scale), 1)
    box_width, box_height = width + 2 * pad, height + baseline + 2 * pad
    left = max(min(corner[0], image.shape[1] - box_width), 0)
    top = corner[1] - box_height if corner[1] >= box_height else min(corner[1], image.shape[0] - box_height)
    top = max(top, 0)
    cv2.rectangle(image, (left, top), (left + box_width - 1, top + box_height - 1), colour, cv2.FILLED)
    brightness = float(np.dot(colour, (0.114, 0.587, 0.299)))
    ink = (0, 0, 0) if brightness > 110 else (255, 255, 255)
    cv2.putText(image, text, (left + pad, top + pad + height), _FONT, scale, ink, thickness, cv2.LINE_AA)
