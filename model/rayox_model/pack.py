"""Samples as columns of equal shape, to ship between processes.

n samples of H × W pixels, at most G boxes each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from rayox_model.samples import Sample


class PackedSamples(NamedTuple):
    """Columns of samples; boxes and labels past an image's number of boxes are 0."""

    images: UInt8[np.ndarray, "n H W 3"]
    boxes: Float32[np.ndarray, "n G 4"]
    labels: Int16[np.ndarray, "n G"]
    num_boxes: Int16[np.ndarray, "n"]


def pack(samples: Sequence[Sample], max_boxes: int) -> PackedSamples:
    """Put one or more samples of equal size into columns.

    Raises ValueError when a sample has more than max_boxes: make_sample never gives more than its setting.
    """
    num_samples = len(samples)
    boxes = np.zeros((num_samples, max_boxes, 4), np.float32)
    labels = np.zeros((num_samples, max_boxes), np.int16)
    num_boxes = np.array([len(sample.boxes) for sample in samples], np.int16)
    if num_boxes.max() > max_boxes:
        raise ValueError(f"a sample has {num_boxes.max()} boxes, more than the {max_boxes} that the columns hold")
    for row, sample in enumerate(samples):
        boxes[row, : num_boxes[row]] = sample.boxes
        labels[row, : num_boxes[row]] = sample.labels
    return PackedSamples(np.stack([sample.image for sample in samples]), boxes, labels, num_boxes)
