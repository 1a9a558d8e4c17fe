"""Turns the steps of a run into the numbers people watch: losses, images per second, share of time waiting for data."""

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rayox_model.train.engine import StepReport

LOSSES = ("total", "iou", "objectness", "classification", "l1")
COUNTS = ("num_positives", "num_boxes")


@dataclass
class StepStatistics:
    """Sums steps until it is read; images are counted over all workers, which go in lockstep."""

    batch_size: int  # of all workers together
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    since: float = field(default_factory=time.perf_counter)
    _scale: Tensor | None = None  # the GradScaler's in the last step
    _sums: Tensor | None = None  # on the device until the summary: a step never waits for its numbers

    def add(self, report: StepReport) -> None:
        self.images += self.batch_size
        self.steps += 1
        self.seconds += report.step_seconds
        self.data_seconds += report.data_seconds
        terms = [getattr(report.losses, name) for name in LOSSES + COUNTS]
        norm = report.gradient_norm.where(~report.skipped, 0)  # there is none of a skipped step
        self._scale = report.scale
        values = torch.stack([*terms, norm, report.skipped.float()]).double()
        self._sums = values if self._sums is None else self._sums + values

    @property
    def age_seconds(self) -> float:
        return time.perf_counter() - self.since

    def summary(self) -> dict[str, float]:
        """Means per step since the meter was new; seconds are those spent in steps, evaluation left out."""
        steps = max(self.steps, 1)
        seconds = max(self.seconds, 1e-9)
        sums = [0.0] * (len(LOSSES) + 4) if self._sums is None else self._sums.tolist()
        *losses, positives, boxes, norm, skipped = sums
        return {
            "images_per_second": self.images / seconds,
            "data_wait_fraction": self.data_seconds / seconds,
            "seconds_per_step": seconds / steps,
            **{f"loss_{name}": value / steps for name, value in zip(LOSSES, losses, strict=True)},
            "gradient_norm": norm / max(self.steps - skipped, 1),  # of the steps that were not skipped
            "positives_per_box": positives / max(boxes, 1),
            "skipped_steps": skipped,
            **({} if self._scale is None else {"gradient_scale": float(self._scale)}),
        }
