"""Where anchor points are, and what the head's raw regression means there.

K anchor points over all levels; a leading `...` is any batch shape.
"""

from functools import lru_cache

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rayox_model.core.errors import ConfigError
from rayox_model.core.structures import AnchorPoints, Level

STRIDES = (8, 16, 32)


@lru_cache(maxsize=64)  # multi-scale training draws from about a dozen sizes
def anchor_points(height: int, width: int, device: torch.device) -> AnchorPoints:
    """The anchor points of an input of height × width pixels, stride 8 first, row by row; cached, so not to be written.

    Raises ConfigError unless both are positive multiples of 32.
    """
    check_image_size(height, width)
    levels = tuple(Level(height // stride, width // stride, stride) for stride in STRIDES)
    with torch.inference_mode(False):  # the cache serves training too, which cannot save inference tensors
        grid = torch.cat([_cells(level, device) for level in levels])
        strides = torch.cat([torch.full((n.height * n.width,), float(n.stride), device=device) for n in levels])
    return AnchorPoints(levels, grid, strides)


def check_image_size(height: int, width: int) -> None:
    """Raise ConfigError unless both are positive multiples of 32, the largest stride."""
    if min(height, width) < STRIDES[-1] or height % STRIDES[-1] or width % STRIDES[-1]:
        nearest = [max(round(side / STRIDES[-1]), 1) * STRIDES[-1] for side in (height, width)]
        raise ConfigError(
            f"image size {height}×{width} is not made of multiples of {STRIDES[-1]}",
            hint=f"use {nearest[0]}×{nearest[1]}",
        )


def _cells(level: Level, device: torch.device) -> Float32[Tensor, "K 2"]:
    """(x, y) of every cell of one level, row by row."""
    rows = torch.arange(level.height, dtype=torch.float32, device=device)
    columns = torch.arange(level.width, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def decode(regression: Float[Tensor, "... K 4"], anchors: AnchorPoints) -> Float32[Tensor, "... K 4"]:
    """Boxes (xyxy, pixels of the input) of raw regression: centre (t + grid)·stride, size exp(t)·stride.

    YOLOX (arXiv:2107.08430, Sec. 2.1, "Anchor-free"). In fp32 whatever comes in: half precision is off by pixels.
    """
    raw = regression.float()
    strides = anchors.strides[:, None]  # [K, 1]
    centers = (raw[..., :2] + anchors.grid) * strides
    half_sizes = raw[..., 2:].exp() * (strides * 0.5)
    return torch.cat((centers - half_sizes, centers + half_sizes), dim=-1)
