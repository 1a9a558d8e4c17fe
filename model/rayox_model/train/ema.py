"""The exponential moving average of the weights: the model that is evaluated and shipped.

T steps of the run, τ the ramp in steps, n updates so far: decay(n) = decay·(1 − e^(−n/τ)).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

PUBLISHED_RAMP_STEPS = 2000.0
WINDOW_SHARE = 0.05


def ramp_for(num_steps: int) -> float:
    """The ramp τ with which a run ends averaging over about its last 5 % of steps; at most the published one.

    Near the end of the ramp the average spans about e^(n/τ) steps. The published τ of 2000 is meant for half a
    million steps; over 810 it averages nothing (the decay is 0.18 half-way).
    """
    window = max(WINDOW_SHARE * num_steps, math.e)
    return min(PUBLISHED_RAMP_STEPS, num_steps / math.log(window))


def averaged(model: nn.Module, decay: float, ramp_steps: float) -> AveragedModel:
    """A moving average of parameters and floating-point buffers; whole-number buffers are copied."""
    return AveragedModel(model, multi_avg_fn=_moving_average(decay, ramp_steps), use_buffers=True)


def _moving_average(
    decay: float, ramp_steps: float
) -> Callable[[tuple[Tensor, ...] | list[Tensor], tuple[Tensor, ...] | list[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(
        average: tuple[Tensor, ...] | list[Tensor], current: tuple[Tensor, ...] | list[Tensor], num: Tensor | int
    ) -> None:
        now = decay * (1.0 - math.exp(-(float(num) + 1.0) / ramp_steps))
        if average[0].is_floating_point():
            get_ema_multi_avg_fn(now)(average, current, num)  # type: ignore[no-untyped-call]
        else:
            for copy, value in zip(average, current, strict=True):
                copy.copy_(value)

    return update
