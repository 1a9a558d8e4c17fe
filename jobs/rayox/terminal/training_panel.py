"""What a watcher sees of a training run, as its events tell it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rayox.terminal.console import Console
from rayox.terminal.panel import Panel
from rayox.terminal.progress import duration
from rayox_platform.runs.event_kinds import (
    BadImages,
    Checkpoint,
    CheckpointFailed,
    CheckpointSkipped,
    Diagnosis,
    Epoch,
    Failure,
    Note,
    Progress,
    RunEvent,
    Stage,
    Stall,
    Start,
    Urgent,
)

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class TrainingStatus:
    """A run as its events tell it, in words; times are those of the events' clock (seconds since 1970)."""

    name: str
    num_steps: int
    epochs: int
    stage: str = "checking"
    stage_since: float = field(default_factory=time.time)
    step: int = 0
    epoch: int = 0
    running: bool = False
    speed: float = 0.0  # images per second
    seconds_per_step: float = 0.0
    data_wait: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    skipped_steps: int = 0  # since the start; by the GradScaler
    finds_scale: bool = False  # it skips at the moment
    learning_rate: float = 0.0
    checkpoint_time: float | None = None
    bad_images: int = 0

    line_seconds = SECONDS_BETWEEN_LINES

    @property
    def done(self) -> float:
        return self.step / self.num_steps if self.num_steps else 0.0

    def enter(self, stage: str) -> None:
        self.stage, self.stage_since, self.running = stage, time.time(), False

    def take(self, event: RunEvent) -> str | None:
        """Follow an event; the line it is worth keeping, if any."""
        match event:
            case Stage():
                self.enter(event.text)
            case Start():
                return self._start(event)
            case Progress():
                self._progress(event)
            case Epoch():
                return self._epoch(event)
            case Checkpoint():
                self.checkpoint_time = event.time
            case Note() | CheckpointFailed() | CheckpointSkipped() | Diagnosis():
                return event.text
            case Stall():
                return f"the stream stands still: {event.text}"
            case Failure():
                self.enter("starting the workers again")
                return f"{event.text}: going back to the last checkpoint"
            case Urgent():
                return f"{event.text}: saved at step {event.step}"
            case BadImages(images=images) if len(images) > self.bad_images:
                self.bad_images = len(images)
                return f"{self.bad_images} broken images are replaced by others; the last: {images[-1]}"
        return None

    def _start(self, event: Start) -> str | None:
        again = self.step > 0
        self.enter("waiting for the first batch")
        self.step = event.step
        self.num_steps, self.epochs = event.num_steps or self.num_steps, event.epochs or self.epochs
        self.checkpoint_time = event.checkpoint_time or self.checkpoint_time
        workers = f"{event.workers} worker{'s' if event.workers > 1 else ''}"
        return f"restarted at step {event.step} with {workers}" if again else None

    def _progress(self, event: Progress) -> None:
        self.running = True
        self.step, self.epoch = event.step, event.epoch
        self.speed, self.data_wait = event.images_per_second, event.data_wait_fraction
        self.seconds_per_step = event.seconds_per_step
        self.learning_rate = event.learning_rate
        skipped = round(event.skipped_steps)
        self.skipped_steps, self.finds_scale = self.skipped_steps + skipped, skipped > 0
        self.losses = event.losses

    def _epoch(self, event: Epoch) -> str | None:
        metrics = event.metrics
        self.step, self.epoch = event.step, event.epoch - 1
        if "AP" not in metrics and not event.evaluated:
            return None
        of_all = f"/{self.epochs}" if self.epochs else ""  # which runs of before did not tell
        found = {name: metrics.get(name, -1.0) for name in ("AP", "AP50")}
        scores = "  ".join(f"{name} {value:.3f}" if value >= 0 else f"{name} –" for name, value in found.items())
        return (
            f"epoch {event.epoch}{of_all}  {scores}  "
            f"loss {metrics['loss_total']:.2f}  {metrics['images_per_second']:.1f} images/s"
        )

    def headline(self) -> str:
        """How far it is and when it ends."""
        if not self.running:
            return f"{self.name}  {self.stage}  {duration(time.time() - self.stage_since)}"
        left = (self.num_steps - self.step) * self.seconds_per_step
        return (
            f"{self.name}  step {self.step}/{self.num_steps}  epoch {self.epoch + 1}/{self.epochs}  "
            f"{self.speed:.1f} images/s  ETA {duration(left)}"
        )

    def details(self) -> str:
        """Losses, the share of time that waits for data, and how much a crash now would cost."""
        if not self.running:
            return ""
        terms = "  ".join(f"{name} {value:.2f}" for name, value in self.losses.items() if name != "total" and value)
        age = "none yet" if self.checkpoint_time is None else f"{duration(time.time() - self.checkpoint_time)} ago"
        why = " (the scale is being found)" if self.finds_scale else ""
        skipped = f"{self.skipped_steps} skipped{why}  " if self.skipped_steps else ""
        return (
            f"loss {self.losses.get('total', 0):.2f} ({terms})  rate {self.learning_rate:.2g}  "
            f"data-wait {self.data_wait:.0%}  {skipped}checkpoint {age}"
        )


class TrainingPanel(Panel[RunEvent]):
    """Shows a run by its events."""

    def __init__(self, name: str, num_steps: int, epochs: int, console: Console) -> None:
        super().__init__(TrainingStatus(name, num_steps, epochs), console)
