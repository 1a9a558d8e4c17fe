"""The workers of a step, if there are several: how many, and sums over all of them."""

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def num_workers() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_workers(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Every worker calls it, with values of one shape, which change in place; returns them."""
    if num_workers() > 1:
        dist.all_reduce(values)
    return values
