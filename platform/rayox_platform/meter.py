"""Turns the steps of a run into the numbers people watch: losses, images per second, share of time waiting for data."""

import time
from dataclasses import dataclass, field

from rayox_model.engine import StepReport

LOSSES = ("total", "iou", "objectness", "classification", "l1")


@dataclass
class Meter:
    """Sums steps until it is read; images are counted over all workers, which go in lockstep."""

    batch_size: int  # of all workers together
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0.0))
    since: float = field(default_factory=time.perf_counter)

    def add(self, report: StepReport) -> None:
        self.images += self.batch_size
        self.steps += 1
        self.seconds += report.step_seconds
        self.data_seconds += report.data_seconds
        for name in LOSSES:
            self.losses[name] += float(getattr(report.losses, name))

    @property
    def age_seconds(self) -> float:
        return time.perf_counter() - self.since

    def summary(self) -> dict[str, float]:
        """Means per step since the meter was new; seconds are those spent in steps, evaluation left out."""
        steps = max(self.steps, 1)
        seconds = max(self.seconds, 1e-9)
        return {
            "images_per_second": self.images / seconds,
            "data_wait_fraction": self.data_seconds / seconds,
            "seconds_per_step": seconds / steps,
            **{f"loss_{name}": value / steps for name, value in self.losses.items()},
        }
