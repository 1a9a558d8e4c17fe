"""A run's events in a bucket: segments that are never changed, events/START-NUMBER.jsonl, where START is a rank 0's.

Rank 0 sends at most one a second; progress alone, which only a panel wants, waits for five. A worker that is killed
takes what it has not sent with it: no more than those seconds, unless the store was away. An event
of somebody else is a segment TIME-by-WRITER.jsonl, so nothing of rank 0's can be written over.
"""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread

from rayox_platform.runs.event_kinds import EVENTS, Progress, RunEvent
from rayox_platform.runs.events import Watch, known
from rayox_platform.runs.journal import salvaged
from rayox_platform.storage.bucket import Bucket

BY = "-by-"
SEGMENT_SECONDS, PROGRESS_SECONDS = 1.0, 5.0
NAMES_A_SECOND = 1000  # a listing of so many is one request: longer ones are made less often


@dataclass(frozen=True)
class BucketEvents:
    bucket: Bucket  # the prefix of the segments

    def log(self, watch: Watch | None = None) -> "SegmentLog":
        return SegmentLog(self.bucket, watch)

    def tell(self, event: RunEvent) -> None:
        name = f"{round(1000 * time.time()):013d}{BY}{uuid.uuid4().hex}.jsonl"
        self.bucket.write(name, EVENTS.to_line(event))

    def num_starts(self) -> int:
        return len({name.partition("-")[0] for name in self.bucket.files() if BY not in name})

    def read(self) -> list[RunEvent]:
        return self._read(sorted(self.bucket.files()))

    def tail(self, whole: bool = False) -> "SegmentTail":
        return SegmentTail(self, whole)

    def _read(self, names: list[str]) -> list[RunEvent]:
        with ThreadPoolExecutor(self.bucket.num_threads) as pool:
            contents = list(pool.map(self.bucket.read, names))
        return [event for content in contents for event in known(salvaged(content).records)]


class SegmentTail:
    def __init__(self, events: BucketEvents, whole: bool) -> None:
        self._events = events
        self._seen = set() if whole else set(events.bucket.files())
        self._looked_at = 0.0

    def __call__(self) -> list[RunEvent]:
        gap = max(SEGMENT_SECONDS, len(self._seen) / NAMES_A_SECOND)
        time.sleep(max(0.0, self._looked_at + gap - time.monotonic()))
        self._looked_at = time.monotonic()
        new = sorted(self._events.bucket.files().keys() - self._seen)
        events = self._events._read(new)
        self._seen.update(new)
        return events


class SegmentLog:
    """Takes events from any thread and sends them from one of its own.

    What cannot be sent is kept in order and sent later: training goes on meanwhile.
    """

    def __init__(self, bucket: Bucket, watch: Watch | None = None) -> None:
        self._bucket, self._watch = bucket, watch
        self._start, self._number = round(1000 * time.time()), 0
        self._waiting = b""
        self._segment = b""  # is being sent; once tried it is never changed, as it may have arrived
        self._lock, self._sending = Lock(), Lock()
        self._wanted = Event()
        Thread(target=self._send_until_closed, name="rayox-event-log", daemon=True).start()

    def write(self, event: RunEvent) -> None:
        with self._lock:
            self._waiting += EVENTS.to_line(event)
            if self._watch:
                self._watch(event)
        if not isinstance(event, Progress):
            self._wanted.set()

    def flush(self) -> None:
        with suppress(OSError):  # it is kept
            while self._send():
                pass

    def _send_until_closed(self) -> None:
        while True:
            self._wanted.wait(PROGRESS_SECONDS)
            self._wanted.clear()
            with suppress(OSError):
                if self._segment:  # of an outage
                    self._send()
                self._send()  # what comes while it is sent waits for the next second
            time.sleep(SEGMENT_SECONDS)

    def _send(self) -> bool:
        """Send a segment; whether there was one."""
        with self._sending:
            if not self._take():
                return False
            self._bucket.write(f"{self._start:013d}-{self._number:06d}.jsonl", self._segment)
            self._segment = b""
            self._number += 1
            return True

    def _take(self) -> bool:
        """Whether there is a segment to send."""
        with self._lock:
            if not self._segment:
                self._segment, self._waiting = self._waiting, b""
        return bool(self._segment)
