"""The outlines of the embedded data set's eight classes, and the clutter that belongs to none.

An outline is a list of closed contours around the origin, even-odd filled, each [P, 2] of (x, y), radius about 1.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = list[NDArray[np.float64]]

SUBPIXEL_BITS = 6  # cv2.fillPoly takes fixed-point coordinates


def _arc(radius: float, start: float, stop: float, num_points: int = 48) -> NDArray[np.float64]:
    angles = np.linspace(start, stop, num_points)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _polygon(num_corners: int) -> Outline:
    return [_arc(1.0, 0.0, 2 * np.pi, num_corners + 1)[:-1]]


def _circle() -> Outline:
    return _polygon(64)


def _star() -> Outline:
    corners = _polygon(10)[0]
    corners[1::2] *= 0.42
    return [corners]


def _ring() -> Outline:
    return [_circle()[0], 0.55 * _circle()[0]]


def _cross() -> Outline:
    arm = 0.34
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turns = [quarter @ np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), turn) for turn in range(4)]
    return [np.concatenate(turns)]


def _crescent() -> Outline:
    outer = _arc(1.0, 0.25 * np.pi, 1.75 * np.pi)
    tip = np.array([0.35, 0.0])  # the centre of the bite; its circle passes through the outer arc's two ends
    bite_radius = float(np.hypot(*(outer[0] - tip)))
    angle = float(np.arctan2(*(outer[0] - tip)[::-1]))
    return [np.concatenate([outer, tip + _arc(bite_radius, 2 * np.pi - angle, angle)])]


OUTLINES: dict[str, Callable[[], Outline]] = {
    "circle": _circle,
    "square": lambda: _polygon(4),
    "triangle": lambda: _polygon(3),
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "hexagon": lambda: _polygon(6),
    "crescent": _crescent,
}


def clutter(rng: np.random.Generator) -> Outline:
    """A long bar or a jagged lump: nothing that could pass for one of the classes."""
    if rng.random() < 0.5:
        half = rng.uniform(0.08, 0.2)
        return [np.array([[-1.0, -half], [1.0, -half], [1.0, half], [-1.0, half]])]
    num_corners = int(rng.integers(7, 12))
    corners = _polygon(num_corners)[0]
    corners *= rng.uniform(0.45, 1.0, (num_corners, 1)) * np.array([1.0, rng.uniform(0.5, 0.8)])
    return [corners]


def draw_mask(outline: Outline, angle: float, stretch: float, size: float) -> NDArray[np.uint8]:
    """Fill a turned outline, its longer side `size` pixels: antialiased coverage 0 to 255, cut to its tight extents.

    `stretch` squeezes the height before turning (1 keeps it).
    """
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = [contour * np.array([1.0, stretch]) @ turn for contour in outline]
    low, high = np.min(np.concatenate(turned), axis=0), np.max(np.concatenate(turned), axis=0)
    scale = size / float(np.max(high - low))
    width, height = np.maximum(np.ceil((high - low) * scale).astype(int), 1)
    fixed = [np.rint(((contour - low) * scale - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32) for contour in turned]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, fixed, color=(255,), lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return mask
