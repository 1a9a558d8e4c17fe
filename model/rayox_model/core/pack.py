"""Samples as columns of equal shape, to ship between processes.

n samples of H × W pixels, at most G boxes each.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from rayox_model.core.samples import Sample


class PackedSamples(NamedTuple):
    """Columns of samples; boxes and labels past an image's number of boxes are 0."""

    images: UInt8[np.ndarray, "n H W 3"]
    boxes: Float32[np.ndarray, "n G 4"]
    labels: Int16[np.ndarray, "n G"]
    num_boxes: Int16[np.ndarray, "n"]


def pack(samples: Iterable[Sample], num_samples: int, size: tuple[int, int], max_boxes: int) -> PackedSamples:
    """Put samples of size (height, width) into columns, each as it comes: no two images are held beside them.

    Raises ValueError when a sample has more than max_boxes (make_sample never gives more than its setting), or when
    there are not num_samples of them.
    """
    images = np.empty((num_samples, *size, 3), np.uint8)
    boxes = np.zeros((num_samples, max_boxes, 4), np.float32)
    labels = np.zeros((num_samples, max_boxes), np.int16)
    num_boxes = np.zeros(num_samples, np.int16)
    for row, sample in zip(range(num_samples), samples, strict=True):
        count = len(sample.boxes)
        if count > max_boxes:
            raise ValueError(f"a sample has {count} boxes, more than the {max_boxes} that the columns hold")
        images[row], boxes[row, :count], labels[row, :count] = sample
        num_boxes[row] = count
    return PackedSamples(images, boxes, labels, num_boxes)
