"""A journal in a folder: one file that only grows, written under a lock, so that several processes may append."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from rayox_platform.runs.journal import Record, Tell, cut_off_line, damaged, encoded, parsed, say_nothing


class FileJournal:
    def __init__(self, path: Path, durable: bool = True, tell: Tell = say_nothing) -> None:
        self.path = path
        self._durable, self._tell = durable, tell
        self._lock = Lock()
        self._size = self._count = 0  # of what this process has written or seen

    def __str__(self) -> str:
        return str(self.path)

    def append(self, record: Mapping[str, Any]) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            with self._lock:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._catch_up(file)
                number = self._count
                self._write(file, encoded(number, record))
        finally:
            os.close(file)
        if fresh and self._durable:
            _sync_folder(self.path.parent)
        return number

    def _catch_up(self, file: int) -> None:
        """See what others have appended, and cut what a crash has left of a line."""
        size = os.fstat(file).st_size
        if size < self._size:
            raise damaged(str(self.path), f"the file has shrunk from {self._size} to {size} bytes")
        if size > self._size:
            new = parsed(os.pread(file, size - self._size, self._size), self._count, self.path)
            self._size += new.num_bytes
            self._count += len(new.records)
            if new.cut_off:
                self._tell(cut_off_line(self.path, new.cut_off))
                os.ftruncate(file, self._size)

    def _write(self, file: int, line: bytes) -> None:
        """All of it or nothing, as far as the system lets us: a full disk leaves no half of a line."""
        try:
            left = line
            while left:
                left = left[os.write(file, left) :]
            if self._durable:
                os.fsync(file)
        except OSError:
            os.ftruncate(file, self._size)
            raise
        self._size += len(line)
        self._count += 1

    def read(self, tell: Tell = say_nothing) -> list[Record]:
        found = parsed(self.path.read_bytes() if self.path.exists() else b"", 0, self.path)
        if found.cut_off:
            tell(cut_off_line(self.path, found.cut_off))
        return found.records

    def tail(self, whole: bool = False) -> "FileJournalTail":
        tail = FileJournalTail(self.path)
        if not whole:
            tail()
        return tail


class FileJournalTail:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = self._count = 0

    def __call__(self) -> list[Record]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._size)
            new = parsed(file.read(), self._count, self._path)
        self._size += new.num_bytes
        self._count += len(new.records)
        return new.records


def _sync_folder(folder: Path) -> None:
    """The file's name is on the disk as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
