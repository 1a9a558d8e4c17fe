"""A run's writes to MLflow, on disk first: a journal of the driver's, sent on by whoever has the run's folder.

`tracking.jsonl` only grows; `tracking.sent` says how many of its entries MLflow has. A crash between a send and that
sends an entry again, which changes nothing there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from rayox_platform.runs.journal_file import FileJournal, FileJournalTail
from rayox_platform.runs.outbox_entries import ENTRIES, Entry

FILE = "tracking.jsonl"
SENT = "tracking.sent"
TARGET = "tracking.json"
FILES = frozenset((FILE, SENT, TARGET))
UNIT = "entries"  # of tracking.sent
BYTES_AT_ONCE = 1 << 18


class Line(NamedTuple):
    entry: Entry | None  # None: one that cannot be read, or is of another version of rayox
    end: int  # entries up to it


@dataclass(frozen=True)
class Target:
    """Which MLflow run a outbox is for."""

    uri: str
    experiment_id: str
    run_id: str


class Outbox:
    """The outbox in a run's folder; add is for any thread, the rest for the one that sends."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._journal = folder, _journal(folder)
        self._tail, self._read = FileJournalTail(self._journal.path, strict=False, at_once=BYTES_AT_ONCE), 0
        self._unsent: list[Line] = []  # of what was read
        self._lock = Lock()
        self.size = self._synced = len(self._journal.read())  # entries
        self.sent = _num_sent(folder, self.size)
        if self.sent:
            self.acknowledge(self.sent)  # a power cut may have taken some that were sent: new ones are in their places
        self.lost = 0  # entries that the disk did not take

    def add(self, entry: Entry) -> None:
        """Keep one entry; it outlives this process at once, and a power cut after the next sync.

        A full disk must not end a training: what it does not take is counted.
        """
        with self._lock:
            try:
                self.size = self._journal.append(ENTRIES.to_json(entry)) + 1
            except OSError:
                self.lost += 1

    def sync(self) -> None:
        """Let the disk have what was added, if anything was."""
        size = self.size
        if size > self._synced:
            self._journal.sync()
            self._synced = size

    def unsent(self) -> list[Line]:
        """The next entries that MLflow has not, at most some hundreds of KB."""
        while not self._unsent and (records := self._tail()):
            lines = [Line(entry, end) for end, entry in enumerate(ENTRIES.known(records), self._read + 1)]
            self._read += len(records)
            self._unsent = [line for line in lines if line.end > self.sent]
        return self._unsent

    def acknowledge(self, end: int) -> None:
        """So many entries are in MLflow."""
        draft = self._folder / f".{SENT}"
        draft.write_text(f"{end} {UNIT}")
        draft.replace(self._folder / SENT)
        self.sent = end
        self._unsent = [line for line in self._unsent if line.end > end]

    def num_unsent(self) -> int:
        return num_unsent(self._folder)

    def close(self) -> None:
        self.sync()


def open_outbox(folder: Path, target: Target) -> Outbox:
    """The folder's outbox for a run; all of it is sent again if what is there went to another run."""
    if read_target(folder) != target:
        (folder / SENT).unlink(missing_ok=True)
        draft = folder / f".{TARGET}"
        draft.write_text(json.dumps(target.__dict__))
        draft.replace(folder / TARGET)
    return Outbox(folder)


def read_target(folder: Path) -> Target | None:
    """Where a run's outbox goes; None when the folder has none."""
    try:
        return parse_target((folder / TARGET).read_bytes())
    except OSError:
        return None


def parse_target(content: bytes) -> Target | None:
    try:
        return Target(**json.loads(content))
    except (ValueError, TypeError):
        return None


def written_entries(folder: Path) -> Iterator[Entry]:
    """All that was ever added to the outbox of a run's folder, if it has one."""
    return (entry for entry in ENTRIES.known(_journal(folder).read()) if entry is not None)


def num_unsent(folder: Path) -> int:
    size = len(_journal(folder).read())
    return size - _num_sent(folder, size)


def _journal(folder: Path) -> FileJournal:
    return FileJournal(folder / FILE, durable=False, strict=False)


def _num_sent(folder: Path, size: int) -> int:
    """How many of size entries MLflow has; a rayox before the journal counted bytes."""
    try:
        count, *unit = (folder / SENT).read_text().split()
        sent = int(count) if unit else (folder / FILE).read_bytes()[: int(count)].count(b"\n")
    except (OSError, ValueError):  # none yet, or cut off by a crash: all is sent again
        return 0
    return min(sent, size)
