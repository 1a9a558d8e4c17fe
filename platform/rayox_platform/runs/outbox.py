"""A run's writes to MLflow, on disk first: lines appended by the driver, sent on by whoever has the run's folder.

`tracking.jsonl` only grows; `tracking.sent` is the offset up to which MLflow has it. A crash between a send and its
offset sends a line again, which changes nothing there.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from rayox_platform.runs.outbox_entries import ENTRIES, Entry

FILE = "tracking.jsonl"
SENT = "tracking.sent"
TARGET = "tracking.json"
FILES = frozenset((FILE, SENT, TARGET))
LINES_AT_ONCE = 1000


class Line(NamedTuple):
    entry: Entry | None  # None: no line of ours, as after a crash
    end: int  # offset behind it


@dataclass(frozen=True)
class Target:
    """Which MLflow run a spool is for."""

    uri: str
    experiment_id: str
    run_id: str


class Spool:
    """The spool in a run's folder; add is for any thread, the rest for the one that sends."""

    def __init__(self, folder: Path) -> None:
        self._path, self._sent_path = folder / FILE, folder / SENT
        self._lock = Lock()
        self._file = self._path.open("ab", buffering=0)  # nothing waits in this process
        if _cut_off(self._path):
            self._file.write(b"\n")
        self._synced = 0
        self.sent = min(_read_offset(self._sent_path), self._path.stat().st_size)
        self.lost = 0  # entries that the disk did not take

    def add(self, entry: Entry) -> None:
        """Keep one entry; it outlives this process at once, and a power cut after the next sync.

        A full disk must not end a training: what it does not take is counted.
        """
        line = ENTRIES.to_line(entry).encode()
        with self._lock:
            try:
                written = self._file.write(line)
            except OSError:
                written = 0
            self.lost += written != len(line)

    def sync(self) -> None:
        """Let the disk have what was added, if anything was."""
        size = self.size()
        if size > self._synced:
            os.fsync(self._file.fileno())
            self._synced = size

    def size(self) -> int:
        return self._path.stat().st_size

    def unsent(self) -> list[Line]:
        """The next lines that MLflow has not, at most a thousand."""
        return [line for line, _ in zip(_lines(self._path, self.sent), range(LINES_AT_ONCE), strict=False)]

    def acknowledge(self, end: int) -> None:
        """Everything before this offset is in MLflow."""
        draft = self._sent_path.with_name(f".{SENT}")
        draft.write_text(str(end))
        draft.replace(self._sent_path)
        self.sent = end

    def num_unsent(self) -> int:
        return num_unsent(self._path.parent)

    def close(self) -> None:
        self.sync()
        with self._lock:
            self._file.close()


def open_spool(folder: Path, target: Target) -> Spool:
    """The folder's spool for a run; all of it is sent again if what is there went to another run."""
    if read_target(folder) != target:
        (folder / SENT).unlink(missing_ok=True)
        draft = folder / f".{TARGET}"
        draft.write_text(json.dumps(target.__dict__))
        draft.replace(folder / TARGET)
    return Spool(folder)


def read_target(folder: Path) -> Target | None:
    """Where a run's spool goes; None when the folder has none."""
    try:
        return parse_target((folder / TARGET).read_bytes())
    except OSError:
        return None


def parse_target(content: bytes) -> Target | None:
    try:
        return Target(**json.loads(content))
    except (ValueError, TypeError):
        return None


def spooled(folder: Path) -> Iterator[Entry]:
    """All that was ever added to the spool of a run's folder, if it has one."""
    return (line.entry for line in _lines(folder / FILE, 0) if line.entry is not None)


def num_unsent(folder: Path) -> int:
    return sum(1 for _ in _lines(folder / FILE, _read_offset(folder / SENT)))


def _lines(path: Path, start: int) -> Iterator[Line]:
    """Whole lines from an offset on; none when there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        end = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield Line(ENTRIES.from_line(line), end)


def _cut_off(path: Path) -> bool:
    size = path.stat().st_size
    if not size:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _read_offset(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # none yet, or cut off by a crash: all is sent again
        return 0
