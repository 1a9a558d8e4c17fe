"""A run's numbers for Prometheus: set by rank 0 beside every event, given out by the metrics agent of its Ray node."""

from ray.util.metrics import Gauge

from rayox_platform.runs.event_kinds import Checkpoint, Epoch, Progress, RunEvent, Start
from rayox_platform.runs.home import RunHome

# Of a progress event: its field, the gauge, what it is.
PROGRESS = (
    ("step", "rayox_step", "Optimiser steps behind the run."),
    ("epoch", "rayox_epoch", "The epoch being trained, from 0."),
    ("images_per_second", "rayox_images_per_second", "Training images a second, all workers together."),
    ("data_wait_fraction", "rayox_data_wait_ratio", "Share of the time that waits for data."),
    ("learning_rate", "rayox_learning_rate", "Learning rate of the step."),
    ("gradient_norm", "rayox_gradient_norm", "Norm of the gradients, where the run measures it."),
)
EVERY_RUN = ("run",)


class RunGauges:
    """The gauges of one run, tagged with its name; losses have their term and scores their metric as well."""

    def __init__(self, home: RunHome) -> None:
        self._run = {"run": home.name}
        self._progress = [(field, Gauge(name, text, EVERY_RUN)) for field, name, text in PROGRESS]
        self._loss = Gauge("rayox_loss", "A loss term, mean over the last second or so.", ("run", "term"))
        self._score = Gauge("rayox_score", "A COCO metric of the last evaluation.", ("run", "metric"))
        self._age = Gauge("rayox_checkpoint_age_seconds", "Since the newest checkpoint, at the last event.", EVERY_RUN)
        self._saved = Gauge("rayox_checkpoint_timestamp_seconds", "When the newest checkpoint was written.", EVERY_RUN)
        self._workers = Gauge("rayox_workers", "Training processes.", EVERY_RUN)
        self._restarts = Gauge("rayox_restarts", "Starts of the workers after the run's first.", EVERY_RUN)
        self._earlier_starts = home.events.num_starts()
        self._saved_at = 0.0

    def take(self, event: RunEvent) -> None:
        """Bring the gauges up to an event of the run's log."""
        match event:
            case Start():
                self._workers.set(event.workers, self._run)
                self._restarts.set(self._earlier_starts, self._run)
                self._saved_at = event.checkpoint_time or 0.0
            case Progress():
                self._take_progress(event)
            case Epoch():
                for name, value in event.metrics.items():
                    if name[:2] in ("AP", "AR"):
                        self._score.set(value, self._run | {"metric": name})
            case Checkpoint():
                self._saved_at = event.time
        if self._saved_at:
            self._saved.set(self._saved_at, self._run)
            self._age.set(max(0.0, event.time - self._saved_at), self._run)

    def _take_progress(self, event: Progress) -> None:
        for field, gauge in self._progress:
            if (value := getattr(event, field)) is not None:
                gauge.set(value, self._run)
        for term, value in event.losses.items():
            self._loss.set(value, self._run | {"term": term})
