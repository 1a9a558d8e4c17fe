"""What the tensor parts of the detector hand to each other.

B images in a batch, K anchor points, C classes, N boxes of a whole batch, H and W the height and width in pixels.
Boxes are xyxy float32 pixels of the network's input; images are BGR.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor


class Predictions(NamedTuple):
    """The head's raw outputs over all anchor points, stride 8 first, row by row; nothing decoded, no sigmoid."""

    regression: Float[Tensor, "B K 4"]  # (tx, ty, tw, th)
    objectness: Float[Tensor, "B K"]  # logits
    class_logits: Float[Tensor, "B K C"]


class Level(NamedTuple):
    """One grid of anchor points."""

    height: int
    width: int
    stride: int


class AnchorPoints(NamedTuple):
    """Where the K anchor points of one input size are: cell corners in grid units; centres are (grid + 0.5)·stride."""

    levels: tuple[Level, ...]
    grid: Float32[Tensor, "K 2"]  # (x, y)
    strides: Float32[Tensor, "K"]


class Targets(NamedTuple):
    """The boxes of a batch, flat, each with the index of its image; N may be 0."""

    boxes: Float32[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    image_index: Int64[Tensor, "N"]  # non-decreasing


class Batch(NamedTuple):
    """One training step's input as it is shipped: uint8 pixels, last axis BGR, converted on the device."""

    images: UInt8[Tensor, "B H W 3"]
    targets: Targets
    epoch: int


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into so many parts whose sizes differ by one at most; views, in order. Needs an image for each."""
    bounds = [len(batch.images) * part // parts for part in range(parts + 1)]
    assert all(start < end for start, end in pairwise(bounds)), f"{parts} parts of {len(batch.images)} images"
    boxes, labels, image_index = batch.targets
    rows = torch.searchsorted(image_index.contiguous(), image_index.new_tensor(bounds)).tolist()
    return [
        Batch(
            batch.images[start:end],
            Targets(boxes[first:last], labels[first:last], image_index[first:last] - start),
            batch.epoch,
        )
        for (start, end), (first, last) in zip(pairwise(bounds), pairwise(rows), strict=True)
    ]
