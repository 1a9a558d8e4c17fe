"""Affine maps of pixels and boxes.

Points are (x, y) in corner coordinates: the pixel in column 0, row 0 covers the square from (0, 0) to (1, 1).
A map is a 2×3 matrix from points of one image to points of another. G boxes, H and W height and width.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from rayox_model.augment.augment_settings import Augment


class Rectangle(NamedTuple):
    """Whole pixels from (left, top) up to, without, (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top


def draw_affine(rng: np.random.Generator, settings: Augment, size: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
    """Draw the rotation, scale, shear and shift of a mosaic; about the canvas's top left corner, not recentred.

    `size` is the output's (height, width), of which the shift is a share.
    """
    angle = math.radians(rng.uniform(-settings.degrees, settings.degrees))
    scale = rng.uniform(*settings.mosaic_scale)
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-settings.shear, settings.shear, 2)))
    shift = rng.uniform(-settings.translate, settings.translate, 2) * (size[1], size[0])
    rotation = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    shearing = np.array([[1.0, shear_y], [shear_x, 1.0]])
    return np.column_stack([shearing @ rotation, shift])


def scale_and_shift(
    scale: tuple[float | int, float | int], shift: tuple[float | int, float | int]
) -> Float64[np.ndarray, "2 3"]:
    """The map of axis-wise scales followed by a shift, both (x, y)."""
    return np.array([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]])


def compose(outer: Float64[np.ndarray, "2 3"], inner: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The one map that does `inner`, then `outer`."""
    both: Float64[np.ndarray, "2 3"] = outer[:, :2] @ inner
    both[:, 2] += outer[:, 2]
    return both


def invert(matrix: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The map back."""
    (a, b, x), (c, d, y) = matrix.tolist()
    area = a * d - b * c
    back = np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]])
    back /= area
    return back


def largest_stretch(matrix: Float64[np.ndarray, "2 3"]) -> float:
    """How much longer a map makes the line that it lengthens most; below 1 it shrinks every line."""
    a, b, c, d = matrix[:, :2].ravel().tolist()
    half_sum = (a * a + b * b + c * c + d * d) / 2
    return math.sqrt(half_sum + math.sqrt(max(0.0, half_sum * half_sum - (a * d - b * c) ** 2)))


def clip_boxes(boxes: Float[np.ndarray, "G 4"], size: tuple[int, int]) -> Float[np.ndarray, "G 4"]:
    """Cut xyxy boxes at the border of an image of `size` (height, width); those outside get no area."""
    return boxes.clip(0, (size[1], size[0], size[1], size[0]))


def transform_boxes(boxes: Float[np.ndarray, "G 4"], matrix: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "G 4"]:
    """Map xyxy boxes: the upright rectangles around their four mapped corners; unclipped, G may be 0."""
    corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)  # [G, 4, 2]
    mapped = corners @ matrix[:, :2].T + matrix[:, 2]  # [G, 4, 2]
    return np.concatenate([mapped.min(1), mapped.max(1)], axis=1)


def transform_rectangle(
    corners: tuple[float | int, float | int, float | int, float | int], matrix: Float64[np.ndarray, "2 3"]
) -> tuple[float, float, float, float]:
    """Map one xyxy rectangle as transform_boxes does, at a tenth of its time."""
    (a, b, x), (c, d, y) = matrix.tolist()
    left, top, right, bottom = corners
    across, down = (a * left, a * right, b * top, b * bottom), (c * left, c * right, d * top, d * bottom)
    return (
        x + min(across[:2]) + min(across[2:]),
        y + min(down[:2]) + min(down[2:]),
        x + max(across[:2]) + max(across[2:]),
        y + max(down[:2]) + max(down[2:]),
    )


def in_view(region: Rectangle, matrix: Float64[np.ndarray, "2 3"], size: tuple[int, int]) -> bool:
    """Whether a mapped region reaches into an output of `size`.

    A rectangle and a parallelogram meet exactly if they do along the sides of the one and of the other.
    """
    left, top, right, bottom = transform_rectangle((0, 0, size[1], size[0]), invert(matrix))
    seen_from_region = left < region.right and top < region.bottom and right > region.left and bottom > region.top
    return seen_from_region and not region.empty and not visible_part(region, matrix, size).empty


def visible_part(region: Rectangle, matrix: Float64[np.ndarray, "2 3"], size: tuple[int, int]) -> Rectangle:
    """The pixels of an output of `size` that a mapped region may reach: the rectangle around it, cut at the border."""
    left, top, right, bottom = transform_rectangle(region, matrix)
    return Rectangle(
        max(math.floor(left), 0),
        max(math.floor(top), 0),
        min(math.ceil(right), size[1]),
        min(math.ceil(bottom), size[0]),
    )


def warp_over(
    output: UInt8[np.ndarray, "h w c"], image: UInt8[np.ndarray, "H W c"], matrix: Float64[np.ndarray, "2 3"]
) -> None:
    """Draw an image, mapped, over an output in place; only the rectangle around its visible part is computed.

    The official code feeds the same matrix to boxes (corner coordinates) and to OpenCV (pixel centres), which moves
    pixels by up to half a pixel against their boxes. Here both are the same map. OpenCV warps four channels in less
    than half the time of three, to the same values.
    """
    whole = Rectangle(0, 0, image.shape[1], image.shape[0])
    part = visible_part(whole, matrix, (output.shape[0], output.shape[1]))
    if part.empty:
        return
    # From pixel centres to pixel centres, in the part.
    centres = matrix + np.zeros((2, 3))
    centres[:, 2] += matrix[:, :2].sum(axis=1) / 2 - (part.left + 0.5, part.top + 0.5)
    cv2.warpAffine(
        image,
        centres,
        (part.right - part.left, part.bottom - part.top),
        dst=output[part.top : part.bottom, part.left : part.right],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )


def flip_boxes(boxes: Float[np.ndarray, "G 4"], width: int) -> Float[np.ndarray, "G 4"]:
    """Mirror xyxy boxes left to right in an image of this width."""
    return np.column_stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]])
