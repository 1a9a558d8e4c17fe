"""A journal in a bucket: one immutable object a record, NUMBER/WRITER.json, so that nothing is ever written over.

Arrow's filesystems know no conditional put. The writer's own name in the key stands in for it: of two that append the
same number at once at least the later one sees the other's object, takes its own back and tries again. Where a crash
has left two, the earlier one counts: the other was never acknowledged. Stores show no half of an object; so whatever
does not add up is damage.
"""

import random
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from rayox_platform.runs.journal import Record, Tell, damaged, decoded, encoded, say_nothing
from rayox_platform.storage.bucket import Bucket

LONGEST_WAIT_SECONDS = 0.2  # of two that meet


class BucketJournal:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._writer = uuid.uuid4().hex
        self._lock = Lock()
        self._count: int | None = None  # the number after the last that this process has written

    def __str__(self) -> str:
        return str(self._bucket)

    def append(self, record: Mapping[str, Any]) -> int:
        with self._lock:
            number = self._num_records() if self._count is None else self._count
            while not self._placed(number, encoded(number, record)):
                number += bool(self._at(number).files())
            self._count = number + 1
            return number

    def _placed(self, number: int, line: bytes) -> bool:
        """Whether the number is ours. Its place is looked at before and after: who comes second sees the first."""
        place, mine = self._at(number), f"{self._writer}.json"
        if place.files():
            return False
        place.write(mine, line)
        if set(place.files()) == {mine}:
            return True
        place.remove(mine)
        time.sleep(random.uniform(0, LONGEST_WAIT_SECONDS))
        return False

    def _at(self, number: int) -> Bucket:
        return self._bucket.under(f"{number:08d}")

    def _num_records(self) -> int:
        return max((number_of(name) + 1 for name in self._bucket.files()), default=0)

    def read(self, tell: Tell = say_nothing) -> list[Record]:
        return self._read(0)

    def _read(self, start: int) -> list[Record]:
        """From the record of this number on."""
        stamps = self._bucket.stamps()
        earliest: dict[int, str] = {}
        for name in sorted(stamps, key=lambda name: (stamps[name].modified_ns, name)):
            earliest.setdefault(number_of(name), name)
        numbers = range(start, max(earliest, default=-1) + 1)
        lost = next((number for number in numbers if number not in earliest), None)
        if lost is not None:
            raise damaged(str(self._at(lost)), "it is missing")
        with ThreadPoolExecutor(self._bucket.num_threads) as pool:
            contents = list(pool.map(self._bucket.read, (earliest[number] for number in numbers)))
        return [
            decoded(content, number, self._bucket.path(earliest[number]))
            for number, content in zip(numbers, contents, strict=True)
        ]

    def tail(self, whole: bool = False) -> "BucketJournalTail":
        return BucketJournalTail(self, 0 if whole else self._num_records())


class BucketJournalTail:
    def __init__(self, journal: BucketJournal, count: int) -> None:
        self._journal, self._count = journal, count

    def __call__(self) -> list[Record]:
        new = self._journal._read(self._count)
        self._count += len(new)
        return new


def number_of(name: str) -> int:
    return int(name.partition("/")[0])
