"""How a training or a campaign goes: one live panel on a terminal, plain lines in a pipe; both on stderr."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from rayox.terminal.console import Console

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

SECONDS_BETWEEN_STAGE_LINES = 20.0
BAR_WIDTH = 32
News = TypeVar("News", contravariant=True)


class Words(Protocol):
    """What is shown of it."""

    stage: str  # what is being done while it is not running
    stage_since: float  # seconds since 1970
    running: bool

    @property
    def line_seconds(self) -> float:
        """Between two lines of a log while it runs."""
        ...

    @property
    def done(self) -> float:
        """The share that is done, from 0 to 1."""
        ...

    def headline(self) -> str: ...

    def details(self) -> str: ...

    def enter(self, stage: str) -> None: ...


class Status(Words, Protocol[News]):
    """What is shown, and how it follows what happens."""

    def take(self, news: News) -> str | None:
        """Follow it; the lines worth keeping, if any."""
        ...


class Panel(Generic[News]):
    """Shows a status: tell it stages, feed it news (from any thread); it keeps itself fresh.

    A terminal or pipe that is gone ends the showing, never the work.
    """

    def __init__(self, status: Status[News], console: Console) -> None:
        self._status = status
        self._console = console
        self._lock = Lock()
        self._live: Live | None = None
        self._lines: PlainLines | None = None

    def __enter__(self) -> Self:
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
        """What is being done before it runs, or after that."""
        with self._lock:
            self._status.enter(text)

    def show(self, news: News) -> None:
        with self._lock:
            kept = self._status.take(news)
        if not kept:
            return
        with suppress(OSError):
            if self._live is not None:
                self._live.console.print(kept, markup=False, highlight=False)
            else:
                self._console.note(kept)


class PlainLines:
    """For a log: a line every so often while it runs; a stage is named once it has lasted."""

    def __init__(self, status: Words, clock: Callable[[], float] = time.time) -> None:
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
            if now - self._line_at < status.line_seconds:
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


def _live(status: Words) -> "Live":
    from rich.console import Console as RichConsole
    from rich.live import Live

    def render() -> "Group":
        return _render(status)

    return Live(get_renderable=render, console=RichConsole(stderr=True), refresh_per_second=4, transient=True)


def _render(status: Words) -> "Group":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.text import Text

    if not status.running:
        return Group(Spinner("dots", Text(status.headline())))
    bar = ProgressBar(total=1.0, completed=status.done, width=BAR_WIDTH)
    # A bar of a set width ends its line without a line feed of its own.
    return Group(Text(status.headline()), bar, Text("\n" + status.details(), style="dim"))
