"""Checkpoints in a bucket: each upload under a name of its own, the manifest last, so no half of one ever counts.

A name is step-N-MILLISECONDS, the time of the upload. Objects are never overwritten: a checkpoint of the same step that
is written again (by a restarted or an extended run) is another upload, and the later one counts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rayox_model.checkpoint.checkpoint_folder import ap_of, step_of
from rayox_model.checkpoint.snapshot import FACTS, FILES, MANIFEST, Snapshot, Verified, write_checkpoint
from rayox_model.core.errors import ModelError
from rayox_platform.runs.checkpoints import Chosen, choose_newest, say_nothing
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.cache import cached, scratch

Objects = set[str]  # the files there are of one checkpoint


@dataclass(frozen=True)
class BucketCheckpoints:
    """Under a prefix of a bucket; fetched ones lie in this machine's cache (see cache.py)."""

    bucket: Bucket

    def __str__(self) -> str:
        return str(self.bucket)

    def write(self, snapshot: Snapshot) -> str:
        step = snapshot.facts.step
        before = [_written_at(name) for name in self.listed() if step_of(name) == step]
        name = f"step-{step:08d}-{max([round(1000 * time.time()), *(time + 1 for time in before)]):013d}"
        with scratch(str(self)) as parent:
            folder = write_checkpoint(parent, snapshot)
            for file in (*FILES, MANIFEST):
                self.bucket.put(folder / file, f"{name}/{file}")
        return name

    def names(self) -> frozenset[str]:
        return frozenset(self.listed())

    def choose(self, tell: Callable[[str], None] = say_nothing) -> Chosen | None:
        listed = self.listed()
        return choose_newest(listed, lambda name: self._fetch(name, listed[name]), tell)

    def newest(self) -> str | None:
        chosen = self.choose()
        return chosen.name if chosen else None

    def best(self) -> str | None:
        return self._best(self.listed())

    def _best(self, listed: dict[str, Objects]) -> str | None:
        ap = {name: self._ap(name) for name, objects in sorted(listed.items()) if MANIFEST in objects}
        evaluated = {name: value for name, value in ap.items() if value is not None}
        return max(evaluated, key=lambda name: (evaluated[name], name), default=None)

    def _ap(self, name: str) -> float | None:
        try:
            return ap_of(self.bucket.read(f"{name}/{FACTS}"))
        except FileNotFoundError:
            return None  # damaged: it is not the best of anything

    def fetch(self, name: str) -> Path:
        return self.verified(name).folder

    def verified(self, name: str) -> Verified:
        return self._fetch(name, self.listed().get(name, set()))

    def _fetch(self, name: str, objects: Objects) -> Verified:
        missing = [file for file in (MANIFEST, *FILES) if file not in objects]
        if missing:
            raise ModelError(
                f"{self.address(name)}: no checkpoint, or one cut off while it was written ({missing[0]} is missing)",
                "use an earlier checkpoint of the run",
            )
        bucket = self.bucket.under(name)
        stamps = {file: bucket.stamp(file) for file in (*FILES, MANIFEST)}
        return cached(self.address(name), stamps, partial(_download, bucket), _written_at(name) / 1000)

    def prune(self, keep: int) -> None:
        """What cannot be removed just now goes with the next one's."""
        try:
            listed = self.listed()
            whole = {step_of(name): name for name, objects in sorted(listed.items()) if MANIFEST in objects}
            kept = {*sorted(whole.values(), reverse=True)[:keep], self._best(listed)}
            for name in listed.keys() - kept:
                self.remove(name)
        except OSError:
            return

    def remove(self, name: str) -> None:
        """The manifest first: what is left of it is then no checkpoint."""
        self.bucket.remove(f"{name}/{MANIFEST}")
        self.bucket.under(name).remove_all()

    def address(self, name: str) -> str:
        return self.bucket.path(name)

    def written_at(self) -> float:
        """When the last one was begun to be written, in seconds since 1970; 0 when there is none."""
        return max((_written_at(name) / 1000 for name in self.listed()), default=0.0)

    def listed(self) -> dict[str, Objects]:
        """What there is of every checkpoint, whole or not, by its name."""
        listed: dict[str, Objects] = {}
        for path in self.bucket.files():
            name, _, file = path.partition("/")
            if name.startswith("step-") and name.count("-") == 2 and file:
                listed.setdefault(name, set()).add(file)
        return listed


def _written_at(name: str) -> int:
    return int(name.split("-")[2])


def _download(bucket: Bucket, folder: Path) -> None:
    """Raises ModelError when an object has gone meanwhile."""
    for file in (*FILES, MANIFEST):
        try:
            bucket.get(file, folder / file)
        except FileNotFoundError as error:
            raise ModelError(f"{bucket.path(file)}: missing", "use an earlier checkpoint of the run") from error
