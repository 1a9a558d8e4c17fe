"""What every assigner answers.

P positive anchor points in a whole batch.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor


class Assignment(NamedTuple):
    """The positive anchor points, each once, ordered by image and then anchor point; P may be 0."""

    image_index: Int64[Tensor, "P"]
    anchor_index: Int64[Tensor, "P"]
    box_index: Int64[Tensor, "P"]  # into Targets
    iou: Float32[Tensor, "P"]  # of the predicted with the assigned box; no gradient


def empty_assignment(device: torch.device) -> Assignment:
    """No positives: a batch without boxes, or whose boxes have no anchor point near."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Assignment(none, none, none, torch.zeros(0, device=device))


def take_points(outputs: Float[Tensor, "B K ..."], index: Int64[Tensor, "M"]) -> Float[Tensor, "M ..."]:
    """One of the Predictions at some anchor points, each given as image_index · K + anchor_index.

    Ten times faster on a CPU than indexing with a pair of tensors.
    """
    return outputs.flatten(0, 1).index_select(0, index)
