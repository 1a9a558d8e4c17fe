"""Box arithmetic shared by assignment, losses and post-processing.

`...` is any leading shape, and shapes broadcast against each other where two boxes meet. `boxes` are xyxy and
`boxes_cxcywh` are centre and size, both in pixels of one frame.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_EPSILON = 1e-16
"""Keeps the IoU of two boxes without area at 0; in fp32 it changes no union above 1e-9 square pixels."""


def xyxy_to_cxcywh(boxes: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """Corners to centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def decode_cxcywh(
    regression: Float[Tensor, "... 4"], grid: Float[Tensor, "... 2"], strides: Float[Tensor, "..."]
) -> Float[Tensor, "... 4"]:
    """Boxes (centre and size) of the raw regression of any anchor points: centre (t + grid)·stride, size exp(t)·stride.

    For where the rounding of corners would matter; YOLOX (arXiv:2107.08430) Sec. 2.1.
    """
    strides = strides[..., None]
    sizes = regression[..., 2:].contiguous().exp() * strides  # ten times slower on a CPU with gaps
    return torch.cat(((regression[..., :2] + grid) * strides, sizes), dim=-1)


class Extents(NamedTuple):
    """Boxes as separate planes: corners and areas; what IoU needs of each box, computed once."""

    x1: Float[Tensor, "..."]
    y1: Float[Tensor, "..."]
    x2: Float[Tensor, "..."]
    y2: Float[Tensor, "..."]
    area: Float[Tensor, "..."]


def extents_cxcywh(boxes_cxcywh: Float[Tensor, "... 4"]) -> Extents:
    """Extents of boxes given by centre and size.

    The area is w·h and not a product of differences of corners, which lose every digit of a box much smaller than
    its distance from the origin: assignment and losses agree with the official code to the last bits by it.
    """
    cx, cy, w, h = boxes_cxcywh.unbind(-1)
    half_w, half_h = w / 2, h / 2
    return Extents(cx - half_w, cy - half_h, cx + half_w, cy + half_h, w * h)


def extents_iou(boxes: Extents, others: Extents) -> Float[Tensor, "..."]:
    """Intersection over union where shapes broadcast; empty boxes overlap nothing: 0, never NaN."""
    width = torch.minimum(boxes.x2, others.x2) - torch.maximum(boxes.x1, others.x1)
    height = torch.minimum(boxes.y2, others.y2) - torch.maximum(boxes.y1, others.y1)
    inner = _product_if_positive(width, height)
    return inner / (boxes.area + others.area - inner + _EPSILON)


def _product_if_positive(width: Float[Tensor, "..."], height: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """width·height where both are positive, else 0 with a gradient of 0."""
    return torch.where((width > 0) & (height > 0), width * height, 0.0)
