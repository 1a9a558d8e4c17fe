"""A run in a bucket, claimed by one driver at a time, whatever machine it is on.

Arrow knows of no locks in stores. Each driver writes an object of its own under claims/ and only then looks for others:
of two that come at once at least one sees the other and gives up (perhaps both do). It renews its object as long as it
lives; ages are told by the store's clock alone, from the times of the objects. A driver that died without a word is
skipped after STALE_SECONDS.
"""

import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from rayox_model.core.errors import ConfigError
from rayox_platform.storage.bucket import Bucket

RENEW_SECONDS, STALE_SECONDS = 15.0, 60.0


@contextmanager
def claimed_in_bucket(run: str, claims: Bucket) -> Iterator[None]:
    """Raises ConfigError when another driver has the run, OSError when nothing can be written there."""
    mine, over = f"{uuid.uuid4().hex}.json", Event()
    content = json.dumps({"host": platform.node(), "pid": os.getpid()}).encode()

    def renew() -> None:
        while not over.wait(RENEW_SECONDS):
            _renew(claims, mine, content)

    claims.write(mine, content)
    thread = Thread(target=renew, name="rayox-claim", daemon=True)
    try:
        other = other_claim(claims, mine)
        if other is not None:
            raise ConfigError(
                f"name: run {run} in {claims.prefix.rpartition('/')[0]} is being trained by {other}",
                f"wait for it, or give another --name; a driver that died no longer counts after {STALE_SECONDS:.0f} s",
            )
        thread.start()
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()
        _give_back(claims, mine)


def other_claim(claims: Bucket, mine: str) -> str | None:
    """Who else has renewed a claim within STALE_SECONDS before mine; the claims of the dead are removed."""
    stamps = claims.stamps()
    now = stamps[mine].modified_ns
    for name, stamp in stamps.items():
        age = (now - stamp.modified_ns) / 1e9
        if name == mine:
            continue
        if age > STALE_SECONDS:
            claims.remove(name)
            continue
        try:
            held = json.loads(claims.read(name))
        except FileNotFoundError:  # given back meanwhile
            continue
        return f"process {held['pid']} on {held['host']}, which was heard of {max(0.0, age):.0f} s ago"
    return None


def claim_holder(claims: Bucket) -> str | None:
    """Who has a run, for somebody who only looks, and so by this machine's clock. Raises OSError."""
    for name, stamp in claims.stamps().items():
        if time.time() - stamp.modified_ns / 1e9 <= STALE_SECONDS:
            with suppress(FileNotFoundError):  # given back meanwhile
                held = json.loads(claims.read(name))
                return f"process {held['pid']} on {held['host']}"
    return None


def _renew(claims: Bucket, mine: str, content: bytes) -> None:
    try:
        claims.write(mine, content)
    except OSError:
        return  # the store is away, for other drivers too; the next renewal tries again


def _give_back(claims: Bucket, mine: str) -> None:
    try:
        claims.remove(mine)
    except OSError:
        return  # it is stale soon
