"""An append-only list of records on shared storage, each with its number and checksum; what is in it can be trusted.

In a folder it is one file, a line a record: `CRC32 NUMBER JSON`. In a bucket it is one immutable object a record. A
line cut off by a crash was never acknowledged: it is left out, and cut before the next one is written. Anything else
that does not add up is refused, with its place; a file whose records are worth something each leaves it out instead.
What users' own tools read has its checksum inside: `{…, "crc32": "CHECKSUM"}`.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from rayox_model.core.errors import DataError
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.folders import Folder, LocalFolder

SEAL = b', "crc32": "'

Record = dict[str, Any]
Tell = Callable[[str], None]
JournalTail = Callable[[], list[Record]]


def say_nothing(text: str) -> None:
    """For those who need not know of a line that was cut off."""


class Journal(Protocol):
    """Methods raise OSError of storage that cannot be reached, and DataError of a damaged record."""

    def append(self, record: Mapping[str, Any]) -> int:
        """Keep a record for good; its number, from 0. When this returns, no crash of this machine loses it."""
        ...

    def read(self, tell: Tell = say_nothing) -> list[Record]:
        """All records in order; tell gets one line about a last one that was cut off."""
        ...

    def tail(self, whole: bool = False) -> JournalTail:
        """Gives the records appended since (whole: all there are), and then those since its last call."""
        ...


def open_journal(folder: Folder, name: str, durable: bool = True, tell: Tell = say_nothing) -> Journal:
    """The journal of that name in a folder or under a prefix of a bucket; nothing is made before the first record.

    durable=False leaves it to the system when a folder's disk gets a record: a power cut may then take the last ones.
    tell gets a line when append cuts off what a crash has left. Several processes may append.
    """
    from rayox_platform.runs.journal_bucket import BucketJournal
    from rayox_platform.runs.journal_file import FileJournal

    if isinstance(folder, Bucket):
        return BucketJournal(folder.under(name))
    assert isinstance(folder, LocalFolder)
    return FileJournal(folder.folder / f"{name}.jsonl", durable, tell)


class Parsed(NamedTuple):
    records: list[Record]
    num_bytes: int  # of their lines
    cut_off: int  # bytes of a line behind them that a crash has cut off


def encoded(number: int, record: Mapping[str, Any], finite: bool = True) -> bytes:
    """A record as a line. Raises ValueError for a number that is not finite, which JSON has not, unless told not to."""
    body = f"{number} {json.dumps(record, allow_nan=not finite, separators=(',', ':'))}".encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decoded(line: bytes, number: int, place: str) -> Record:
    """The record of a whole line, which must have this number. Raises DataError."""
    checksum, _, body = line.partition(b" ")
    if not line.endswith(b"\n") or not _fits(checksum, body[:-1]):
        raise damaged(place, "its checksum does not fit")
    found, _, text = body.partition(b" ")
    if found != str(number).encode():
        raise damaged(place, f"it is number {found.decode()} where {number} should be")
    record: Record = json.loads(text)
    return record


def parsed(content: bytes, number: int, path: object) -> Parsed:
    """Lines from the one with this number on, the last of which may be cut off. Raises DataError with path:line."""
    *lines, last = content.split(b"\n")
    cut_off = len(last)
    checksum, _, body = last[:-1].partition(b" ")
    if last and _fits(checksum, body):
        raise damaged(f"{path}:{number + len(lines) + 1}", "it does not end as it should")
    if lines and b"\0" in lines[-1]:  # the disk got the end of the last line before a power cut, not its beginning
        cut_off += len(lines.pop()) + 1
    places = enumerate(lines, number)
    records = [decoded(line + b"\n", place, f"{path}:{place + 1}") for place, line in places]
    return Parsed(records, len(content) - cut_off, cut_off)


def sealed(record: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON that ends with its checksum."""
    body = json.dumps(record).encode()
    return body[:-1] + b'%b%08x"}\n' % (SEAL, zlib.crc32(body))


def salvaged(content: bytes) -> Parsed:
    """Like parsed, with an empty record for each line that cannot be read, whichever way it was written.

    Lines without a checksum are those of a rayox that wrote none.
    """
    *lines, last = content.split(b"\n")
    return Parsed([_salvaged(line) for line in lines], len(content) - len(last), len(last))


def _salvaged(line: bytes) -> Record:
    checksum, _, body = line.partition(b" ")
    try:
        record = json.loads(body.partition(b" ")[2] if _fits(checksum, body) else _unsealed(line))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _unsealed(line: bytes) -> bytes:
    """A line without its checksum. Raises ValueError where that does not fit."""
    body, seal, checksum = line.rpartition(SEAL)
    if not seal:
        return line
    if not _fits(checksum.removesuffix(b'"}'), body + b"}"):
        raise ValueError("the checksum does not fit")
    return body + b"}"


def cut_off_line(path: object, num_bytes: int) -> str:
    return f"{path}: the last record was cut off by a crash after {num_bytes} bytes and is left out"


def damaged(place: str, why: str) -> DataError:
    return DataError(
        f"{place}: this record is damaged: {why}",
        "bring back the file from a copy; what comes after a lost record cannot be trusted, so none of it is used",
    )


def _fits(checksum: bytes, body: bytes) -> bool:
    return bool(body) and checksum == b"%08x" % zlib.crc32(body)
