"""A journal in a folder: one file that only grows, written under a lock, so that several processes may append."""

import fcntl
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from rayox_platform.runs.journal import (
    Parsed,
    Record,
    Tell,
    cut_off_line,
    damaged,
    encoded,
    parsed,
    salvaged,
    say_nothing,
)


class FileJournal:
    """durable and tell are those of open_journal.

    strict=False is for records that are worth something each, as what MLflow is told: a damaged one is read as an empty
    one, numbers need not be finite, and lines without number and checksum are read, as rayox wrote them before.
    """

    def __init__(self, path: Path, durable: bool = True, tell: Tell = say_nothing, strict: bool = True) -> None:
        self.path = path
        self._durable, self._tell, self._strict = durable, tell, strict
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
                self._write(file, encoded(number, record, finite=self._strict))
        finally:
            os.close(file)
        if fresh and self._durable:
            _sync(self.path.parent)  # the file's name is on the disk as well
        return number

    def _catch_up(self, file: int) -> None:
        """See what others have appended, and cut what a crash has left of a line."""
        size = os.fstat(file).st_size
        if size < self._size:
            if self._strict:
                raise damaged(str(self.path), f"the file has shrunk from {self._size} to {size} bytes")
            self._size = self._count = 0
        if size > self._size:
            content = os.pread(file, size - self._size, self._size)
            new = _parsed(content, self._count, self.path, self._strict)
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
        found = _parsed(_content(self.path, 0), 0, self.path, self._strict)
        if found.cut_off:
            tell(cut_off_line(self.path, found.cut_off))
        return found.records

    def tail(self, whole: bool = False) -> "FileJournalTail":
        tail = FileJournalTail(self.path, self._strict)
        if not whole:
            tail()
        return tail

    def sync(self) -> None:
        """Let the disk have what was appended with durable=False."""
        if self.path.exists():
            _sync(self.path)


class FileJournalTail:
    """at_once bounds the bytes that a call reads, where they have a whole line."""

    def __init__(self, path: Path, strict: bool = True, at_once: int = sys.maxsize) -> None:
        self._path, self._strict, self._at_once = path, strict, at_once
        self._size = self._count = 0

    def __call__(self) -> list[Record]:
        content = _content(self._path, self._size, self._at_once)
        new = _parsed(content, self._count, self._path, self._strict)
        self._size += new.num_bytes
        self._count += len(new.records)
        return new.records


def _content(path: Path, start: int, at_once: int = sys.maxsize) -> bytes:
    """A file from a byte on: in one read, as its writer may cut off the end meanwhile and append to it."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        left = max(os.fstat(file).st_size - start, 0)
        while b"\n" not in (content := os.pread(file, min(left, at_once), start)) and at_once < left:
            at_once *= 2
        return content
    finally:
        os.close(file)


def _parsed(content: bytes, number: int, path: Path, strict: bool) -> Parsed:
    return parsed(content, number, path) if strict else salvaged(content)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
