"""How far a long piece of work is: a bar on a terminal, a plain line every few seconds in a pipe; both on stderr."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

SECONDS_BETWEEN_LINES = 5.0
SILENT_SECONDS = 2.0


class Progress(Protocol):
    def advance(self, count: int = 1, note: str = "") -> None:
        """So many more are done; the note (a loss, an epoch) stands until the next one."""
        ...


@contextmanager
def progress(total: int | None, label: str, unit: str = "images") -> Iterator[Progress]:
    """Show rate and time left of a piece of work of total units; None when nobody knows how many."""
    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        lines = PlainProgress(total, label, unit)
        yield lines
        lines.close()
        return
    with _bar(total, label, unit) as bar:
        yield bar


class PlainProgress:
    """Lines for a log: one every few seconds, one at the end."""

    def __init__(self, total: int | None, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._label, self._unit, self._clock = total, label, unit, clock
        self._done, self._note, self._printed = 0, "", -1
        self._started = self._line_at = clock()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        self._note = note or self._note
        if self._clock() - self._line_at >= SECONDS_BETWEEN_LINES:
            self._print()

    def close(self) -> None:
        if self._done and self._done != self._printed:
            self._print()

    def _print(self) -> None:
        now = self._clock()
        rate = self._done / max(now - self._started, 1e-9)
        of = f"/{self._total}" if self._total is not None else ""
        parts = [f"{self._label} {self._done}{of} {self._unit}", f"{rate:.1f} {self._unit}/s"]
        if self._total is not None and self._done < self._total:
            parts.append(f"ETA {duration((self._total - self._done) / rate)}")
        print("  ".join([*parts, self._note] if self._note else parts), file=sys.stderr, flush=True)
        self._line_at, self._printed = now, self._done


def duration(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _bar(total: int | None, label: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    class Bar:
        def __init__(self, rich: RichProgress, task: TaskID) -> None:
            self._rich, self._task = rich, task

        def advance(self, count: int = 1, note: str = "") -> None:
            self._rich.advance(self._task, count)
            state = self._rich.tasks[0]
            speed = state.finished_speed or state.speed
            self._rich.update(self._task, rate=f"{speed:.1f} {unit}/s" if speed else "")
            if note:
                self._rich.update(self._task, note=note)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as rich:
        yield Bar(rich, rich.add_task(label, total=total, rate="", note=""))


@contextmanager
def progress_of(label: str, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A callback (done so far, total) whose bar opens with its first call: for work that is often already done."""
    with ExitStack() as stack:
        bar: Progress | None = None
        before = 0

        def show(done: int, total: int) -> None:
            nonlocal bar, before
            if bar is None:
                bar = stack.enter_context(progress(total, label, unit))
            bar.advance(done - before)
            before = done

        yield show


@contextmanager
def said_if_silent(what: str) -> Iterator[Callable[[], None]]:
    """A line about work that lasts and cannot tell how far it is; to be called once something else is shown."""
    late = threading.Timer(SILENT_SECONDS, lambda: print(f"{what} …", file=sys.stderr, flush=True))
    late.daemon = True
    late.start()
    try:
        yield late.cancel
    finally:
        late.cancel()


@contextmanager
def progress_of_data() -> Iterator[Callable[[int, int], None]]:
    """While data sets are found and read: a line if that lasts, and a bar once one is being drawn."""
    with said_if_silent("reading the data") as silent_no_more, progress_of("drawing the data set") as drawing:

        def show(done: int, total: int) -> None:
            silent_no_more()
            drawing(done, total)

        yield show
