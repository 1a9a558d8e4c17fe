"""What happens in a run, as JSON lines in its folder: written by rank 0, read by whoever watches.

They are read as a journal is, and each line has its checksum, but no number: rank 0 writes in the middle of training
and waits for no lock, and a user's tools read the file as it is. Those of a run in a bucket lie there instead, see
bucket_events.py.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Protocol

from rayox_platform.runs.event_kinds import EVENTS, RunEvent, Stage, Start
from rayox_platform.runs.journal import Record
from rayox_platform.runs.journal_file import FileJournal

POLL_SECONDS = 0.5
FILE = "events.jsonl"

Tail = Callable[[], list[RunEvent]]
Watch = Callable[[RunEvent], None]


class EventLog(Protocol):
    """Takes events, from any thread."""

    def write(self, event: RunEvent) -> None: ...

    def flush(self) -> None:
        """Bring what was written to where others see it, if that can be done now."""
        ...


class Events(Protocol):
    """The events of one run, wherever it is kept."""

    def log(self, watch: Watch | None = None) -> EventLog:
        """For rank 0, of which there is one at a time; watch is told of each event."""
        ...

    def tell(self, event: RunEvent) -> None:
        """Write one event at once, whoever else writes meanwhile. Raises OSError."""
        ...

    def num_starts(self) -> int:
        """How often training has begun. Raises OSError."""
        ...

    def read(self) -> list[RunEvent]:
        """All events so far; one cut off by a crash is left out. Raises OSError."""
        ...

    def tail(self, whole: bool = False) -> Tail:
        """Gives those written since (whole: all there are), and then those since its last call. Raises OSError."""
        ...


class FileLog:
    """Appends events, from any thread; a line is written whole, so a reader never sees half of one.

    What cannot be written (the disk is full) is kept and written before the next event: training goes on meanwhile.
    watch is told of each.
    """

    def __init__(self, folder: Path, watch: Watch | None = None) -> None:
        self._watch = watch
        path = folder / FILE
        cut_off = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._unwritten = b"\n" if cut_off else b""  # by a crash in the middle of a line
        self._lock = RLock()

    def write(self, event: RunEvent) -> None:
        with self._lock:
            self._unwritten += EVENTS.to_line(event)
            self.flush()  # else the next event tries again
            if self._watch:
                self._watch(event)

    def flush(self) -> None:
        with suppress(OSError):
            self.write_out()

    def write_out(self) -> None:
        """Raises OSError while the disk does not take it all."""
        with self._lock:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]

    def close(self) -> None:
        os.close(self._file)


def tell_stage(events: Events, text: str, show: Watch) -> None:
    """Say what a driver does before the first step or after the last one: here, and to whoever watches the run."""
    event = Stage(text=text)
    show(event)
    with suppress(OSError):  # the store is away, which whoever writes to it next tells
        events.tell(event)


def read_events(folder: Path) -> list[RunEvent]:
    """All events of a run in a folder so far; a line cut off by a crash is left out."""
    return known(FileJournal(folder / FILE, strict=False).read())


def known(records: Iterable[Record]) -> list[RunEvent]:
    """The events in records of a journal or lines; what is not one that this version knows is left out."""
    return [event for event in EVENTS.known(records) if event is not None]


@dataclass(frozen=True)
class FileEvents:
    folder: Path

    def log(self, watch: Watch | None = None) -> FileLog:
        return FileLog(self.folder, watch)

    def tell(self, event: RunEvent) -> None:
        log = FileLog(self.folder)
        try:
            log.write(event)
            log.write_out()
        finally:
            log.close()

    def num_starts(self) -> int:
        return sum(isinstance(event, Start) for event in self.read())

    def read(self) -> list[RunEvent]:
        return read_events(self.folder)

    def tail(self, whole: bool = False) -> Tail:
        tail = FileJournal(self.folder / FILE, strict=False).tail(whole)
        return lambda: known(tail())


class Follower:
    """Calls handle with every event that is written while the with block runs, and with those left at its end.

    Events that cannot be read just now come later. An exception in handle ends the following; it is raised again when
    the block ends well.
    """

    def __init__(self, events: Events, handle: Callable[[RunEvent], None]) -> None:
        self._tail = events.tail()
        self._handle = handle
        self._done = Event()
        self._failure: Exception | None = None
        self._thread = Thread(target=self._run, name="rayox-events", daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure and kind is None:
            raise self._failure

    def _run(self) -> None:
        try:
            for event in follow(self._tail, self._done.is_set, self._done.wait):
                self._handle(event)
        except Exception as failure:  # noqa: BLE001  # handed to the thread that waits
            self._failure = failure


def follow(tail: Tail, is_over: Callable[[], bool], wait: Callable[[float], object] = time.sleep) -> Iterator[RunEvent]:
    """What a tail gives, as it is written, and what is left once it is over. Raises OSError of the last look."""
    while True:
        last_look = is_over()
        try:
            yield from tail()
        except OSError:
            if last_look:
                raise
        if last_look:
            return
        wait(POLL_SECONDS)
