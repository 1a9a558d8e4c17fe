"""What happens in a run, as JSON lines in its folder: written by rank 0, read by whoever watches."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

POLL_SECONDS = 0.5
FILE = "events.jsonl"


class EventLog:
    """Appends events, from any thread; a line is written whole, so a reader never sees half of one.

    What cannot be written (the disk is full) is kept and written before the next event: training goes on meanwhile.
    watch is told of each.
    """

    def __init__(self, folder: Path, watch: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self._watch = watch
        path = folder / FILE
        cut_off = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._unwritten = b"\n" if cut_off else b""  # by a crash in the middle of a line
        self._lock = Lock()

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        event = {"kind": kind, "time": time.time()} | fields
        with self._lock:
            self._unwritten += (json.dumps(event) + "\n").encode()
            self._flush()
            if self._watch:
                self._watch(event)

    def _flush(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
        except OSError:
            return  # the next event tries again


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a run so far; a line cut off by a crash is left out."""
    path = folder / FILE
    if not path.exists():
        return []
    events = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


class Follower:
    """Calls handle with every event that is written while the with block runs, and with those left at its end.

    An exception in handle ends the following; it is raised again when the block ends well.
    """

    def __init__(self, folder: Path, handle: Callable[[dict[str, Any]], None]) -> None:
        self._path = folder / FILE
        self._path.touch()
        self._start = self._path.stat().st_size  # an earlier attempt's events were handled then
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
            for event in follow_events(self._path.parent, self._done.is_set, self._start, self._done.wait):
                self._handle(event)
        except Exception as failure:  # noqa: BLE001  # handed to the thread that waits
            self._failure = failure


def follow_events(
    folder: Path,
    is_over: Callable[[], bool],
    start: int = 0,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """The events of a run from an offset on, as they are written, and those left once it is over."""
    path = folder / FILE
    while not path.exists():
        if is_over():
            return
        wait(POLL_SECONDS)
    with path.open(errors="replace") as file:
        file.seek(start)
        rest = ""
        while True:
            last_look = is_over()
            rest += file.read()
            *lines, rest = rest.split("\n")
            yield from (json.loads(line) for line in lines if line.endswith("}"))
            if last_look:
                return
            wait(POLL_SECONDS)
