"""Four images around a random centre, seen through one affine (YOLOX, arXiv:2107.08430, Sec. 2.1; from YOLOv4).

The official code pastes four resized images on a canvas of twice the output's size and warps that. Here each image is
warped from its own pixels straight into the output, and one that the view does not reach is never decoded.
H and W are the output's height and width, G the number of boxes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.geometry import (
    Rectangle,
    clip_boxes,
    compose,
    draw_affine,
    in_view,
    largest_stretch,
    scale_and_shift,
    transform_boxes,
    warp_over,
)
from rayox_model.augment.letterbox import FILL, fit_size
from rayox_model.augment.partners import Partners, draw_partners
from rayox_model.augment.pixels import load_pixels
from rayox_model.core.samples import LabelledImages, Sample


class Mosaic(NamedTuple):
    """All that is random about one mosaic; its canvas is twice the output's size."""

    indices: tuple[int, int, int, int]  # images at the top left, top right, bottom left, bottom right
    centre: tuple[int, int]  # (x, y) on the canvas
    affine: Float64[np.ndarray, "2 3"]  # canvas points to output points


class Tile(NamedTuple):
    """Where one image lies on the canvas."""

    ratio: float  # of box sizes on the canvas to those in the image
    scale: tuple[float, float]  # (x, y), of pixels: the ratio after rounding the tile to whole pixels
    shift: tuple[int, int]  # (x, y) of the image's top left corner, may be off the canvas
    region: Rectangle  # what the canvas shows of it


def draw_mosaic(
    rng: np.random.Generator, index: int, partners: Partners, settings: Augment, size: tuple[int, int]
) -> Mosaic:
    """Draw three partners, the centre from the middle of the canvas, and the affine."""
    top_right, bottom_left, bottom_right = draw_partners(rng, partners, 3)
    centre = int(rng.uniform(0.5, 1.5) * size[1]), int(rng.uniform(0.5, 1.5) * size[0])
    affine = draw_affine(rng, settings, size)
    return Mosaic((index, top_right, bottom_left, bottom_right), centre, affine)


def place_tile(corner: int, image_size: tuple[int, int], centre: tuple[int, int], size: tuple[int, int]) -> Tile:
    """Fit an image into the output's size and put one of its corners at the centre of the canvas.

    Corner 0 to 3 is the tile at the top left, top right, bottom left, bottom right of the centre.
    """
    fit = fit_size(image_size, size)
    left = centre[0] - (fit.width if corner in (0, 2) else 0)
    top = centre[1] - (fit.height if corner in (0, 1) else 0)
    region = Rectangle(
        max(left, 0),
        max(top, 0),
        min(left + fit.width, 2 * size[1]),
        min(top + fit.height, 2 * size[0]),
    )
    return Tile(fit.ratio, (fit.width / image_size[1], fit.height / image_size[0]), (left, top), region)


def make_mosaic(images: LabelledImages, mosaic: Mosaic, size: tuple[int, int]) -> Sample:
    """Draw a mosaic of `size` and map its boxes, in the order of the tiles; those out of view have no area.

    Boxes are cut at the canvas, then at the output, and not filtered by how much of them is left (as official).
    Raises DataError when an image is not of the size its data set says.
    """
    tiles = _tiles(images, mosaic, size)
    output = np.full((*size, 4), FILL, np.uint8)
    for tile, index in zip(tiles, mosaic.indices, strict=True):
        if in_view(tile.region, mosaic.affine, size):
            _draw_tile(output, images, index, tile, mosaic.affine)
    boxes, labels = zip(*map(images.annotations, mosaic.indices), strict=True)
    on_canvas = [_on_canvas(part, tile) for part, tile in zip(boxes, tiles, strict=True)]
    in_output = _map_boxes(np.concatenate(on_canvas), mosaic.affine, size)
    return Sample(cv2.cvtColor(output, cv2.COLOR_BGRA2BGR), in_output, np.concatenate(labels))


def tiles_in_view(images: LabelledImages, mosaic: Mosaic, size: tuple[int, int]) -> list[int]:
    """The images of a mosaic that its view reaches, so that are decoded."""
    tiles = zip(_tiles(images, mosaic, size), mosaic.indices, strict=True)
    return [index for tile, index in tiles if in_view(tile.region, mosaic.affine, size)]


def _tiles(images: LabelledImages, mosaic: Mosaic, size: tuple[int, int]) -> list[Tile]:
    return [place_tile(i, images.size(index), mosaic.centre, size) for i, index in enumerate(mosaic.indices)]


def _on_canvas(boxes: Float32[np.ndarray, "G 4"], tile: Tile) -> Float64[np.ndarray, "G 4"]:
    return boxes.astype(np.float64) * tile.ratio + (tile.shift * 2)


def _map_boxes(
    on_canvas: Float64[np.ndarray, "G 4"], affine: Float64[np.ndarray, "2 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "G 4"]:
    """Boxes in the output; of those off the canvas nothing is left.

    The official code keeps the latter as lines on the canvas's border, which the rotation opens to boxes of nothing.
    """
    seen = clip_boxes(on_canvas, (2 * size[0], 2 * size[1]))
    in_output = clip_boxes(transform_boxes(seen, affine), size).astype(np.float32)
    in_output[(seen[:, 2:] <= seen[:, :2]).any(axis=1)] = 0
    return in_output


def _draw_tile(
    output: UInt8[np.ndarray, "H W 4"],
    images: LabelledImages,
    index: int,
    tile: Tile,
    affine: Float64[np.ndarray, "2 3"],
) -> None:
    place = compose(affine, scale_and_shift(tile.scale, tile.shift))
    image, factor = load_pixels(images, index, largest_stretch(place))
    left, top, right, bottom = _crop(tile, factor)
    cut = scale_and_shift((factor, factor), (left * factor, top * factor))
    warp_over(output, cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_BGR2BGRA), compose(place, cut))


def _crop(tile: Tile, factor: int) -> Rectangle:
    """What the canvas shows of the image, in its pixels as decoded: cut to the nearest whole one, at least one."""
    per_pixel = tile.scale[0] * factor, tile.scale[1] * factor
    left, right = (round((x - tile.shift[0]) / per_pixel[0]) for x in (tile.region.left, tile.region.right))
    top, bottom = (round((y - tile.shift[1]) / per_pixel[1]) for y in (tile.region.top, tile.region.bottom))
    right, bottom = max(right, 1), max(bottom, 1)
    return Rectangle(min(left, right - 1), min(top, bottom - 1), right, bottom)
