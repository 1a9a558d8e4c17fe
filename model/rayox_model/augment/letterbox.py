"""Fitting an image into the network's input: as large as fits, aspect kept, at the top left of a grey frame.

H and W are the image's height and width, h and w those of the result, G its boxes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

FILL = 114  # grey of all that no image covers


class Fit(NamedTuple):
    """The size an image gets; boxes scale by the ratio, height and width are rounded down to whole pixels."""

    ratio: float
    height: int
    width: int


def fit_size(image_size: tuple[int, int], size: tuple[int, int]) -> Fit:
    """Find how (height, width) grows or shrinks to fit `size`, keeping aspect; no side gets less than one pixel."""
    height, width = image_size
    ratio = min(size[0] / height, size[1] / width)
    return Fit(ratio, max(1, int(height * ratio)), max(1, int(width * ratio)))


def fit_image(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """Resize an image to fit `size`; gives a new array, and the ratio its boxes scale by."""
    fit = fit_size((image.shape[0], image.shape[1]), size)
    return cv2.resize(image, (fit.width, fit.height), interpolation=cv2.INTER_LINEAR), fit.ratio


def pad_image(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Put an image that fits at the top left of a new grey one of `size`; one of this size is given back itself."""
    if image.shape[:2] == size:
        return image
    frame = np.full((*size, 3), FILL, np.uint8)
    frame[: image.shape[0], : image.shape[1]] = image
    return frame


def letterbox(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """Make an image the network's input of `size` (height, width).

    Boxes times the ratio are in input pixels; divided by it, back in the image's.
    """
    fitted, ratio = fit_image(image, size)
    return pad_image(fitted, size), ratio
