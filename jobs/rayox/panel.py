"""What a watcher sees of a training run: one live panel on a terminal, plain lines in a pipe; both on stderr."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from rayox.console import Console
from rayox.progress import duration
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

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_STAGE_LINES = 20.0
BAR_WIDTH = 32


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


class TrainingPanel:
    """Shows a run: tell it stages, feed it the run's events (from any thread); it keeps itself fresh.

    A terminal or pipe that is gone ends the showing, never the run.
    """

    def __init__(self, name: str, num_steps: int, epochs: int, console: Console) -> None:
        self._status = TrainingStatus(name, num_steps, epochs)
        self._console = console
        self._lock = Lock()
        self._live: Live | None = None
        self._lines: PlainLines | None = None

    def __enter__(self) -> "TrainingPanel":
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._live = _live(self._status)
            self._live.start()
        else:
            self._lines = PlainLines(self._status)
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()
        if self._lines is not None:
            self._lines.stop()

    def stage(self, text: str) -> None:
        """What is being done before the first step, or after the last one."""
        with self._lock:
            self._status.enter(text)

    def show(self, event: RunEvent) -> None:
        with self._lock:
            kept = self._status.take(event)
        if not kept:
            return
        with suppress(OSError):
            if self._live is not None:
                self._live.console.print(kept, markup=False, highlight=False)
            else:
                self._console.note(kept)


class PlainLines:
    """For a log: a line every ten seconds of training; a stage is named once it has lasted."""

    def __init__(self, status: TrainingStatus, clock: Callable[[], float] = time.time) -> None:
        self._status, self._clock = status, clock
        self._said, self._line_at = "", clock()
        self._done = Event()
        self._thread = Thread(target=self._run, name="rayox-lines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def line(self) -> str | None:
        """What is to be said now, if anything."""
        status, now = self._status, self._clock()
        if status.running:
            if now - self._line_at < SECONDS_BETWEEN_LINES:
                return None
            self._line_at, self._said = now, ""
            return f"{status.headline()}  {status.details()}"
        new = status.stage != self._said and now - status.stage_since > 1
        if not new and now - max(self._line_at, status.stage_since) < SECONDS_BETWEEN_STAGE_LINES:
            return None
        self._line_at, self._said = now, status.stage
        return status.headline()

    def _run(self) -> None:
        while not self._done.wait(0.5):
            line = self.line()
            try:
                if line:
                    print(line, file=sys.stderr, flush=True)
            except OSError:
                return  # nobody reads any more


def _live(status: TrainingStatus) -> "Live":
    from rich.console import Console as RichConsole
    from rich.live import Live

    def render() -> "Group":
        return _render(status)

    return Live(get_renderable=render, console=RichConsole(stderr=True), refresh_per_second=4, transient=True)


def _render(status: TrainingStatus) -> "Group":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.text import Text

    if not status.running:
        return Group(Spinner("dots", Text(status.headline())))
    bar = ProgressBar(total=status.num_steps, completed=status.step, width=BAR_WIDTH)
    # A bar of a set width ends its line without a line feed of its own.
    return Group(Text(status.headline()), bar, Text("\n" + status.details(), style="dim"))
