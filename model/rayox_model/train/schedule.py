"""The learning rate at a step: a pure function of the step, so that a resumed run needs no scheduler state.

YOLOX (arXiv:2107.08430) Sec. 2.1: quadratic warm-up from zero, cosine to a floor, flat at the end.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate over a run of num_steps steps; peak is the rate of the whole global batch."""

    peak: float
    floor_ratio: float  # of the peak
    warmup_steps: int
    flat_steps: int  # the last ones, at the floor
    num_steps: int

    def at(self, step: int) -> float:
        """Learning rate of a step counted from 0; the first step of a warm-up has rate 0, as published."""
        if step < self.warmup_steps:
            return self.peak * (step / self.warmup_steps) ** 2
        floor = self.peak * self.floor_ratio
        cosine_steps = self.num_steps - self.warmup_steps - self.flat_steps
        if step >= self.num_steps - self.flat_steps or cosine_steps <= 0:
            return floor
        progress = (step - self.warmup_steps) / cosine_steps
        return floor + 0.5 * (self.peak - floor) * (1 + math.cos(math.pi * progress))
