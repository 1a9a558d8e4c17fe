"""The same as garbage.py, for runs in a bucket."""

import json
from collections.abc import Callable, Iterator
from functools import partial

from rayox_model.checkpoint.snapshot import FILES, MANIFEST
from rayox_model.core.errors import ConfigError
from rayox_platform.runs.bucket_lock import claimed_in_bucket
from rayox_platform.runs.garbage import CUT_OFF, DAMAGED, NOTES, RAY_FOLDER, STILLBORN, SUPERFLUOUS, Garbage
from rayox_platform.runs.home import BucketHome
from rayox_platform.runs.places import BucketRuns
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.state import RESULT


def find_garbage_in_bucket(runs: BucketRuns) -> list[Garbage]:
    """What nothing refers to in every run that no driver is training just now. Raises OSError."""
    found: list[Garbage] = []
    for name in runs.names():
        home = runs.home(name)
        try:
            with claimed_in_bucket(name, home.claims):
                found += _of_run(home)
        except ConfigError:
            continue  # it is in training
    return found


def _of_run(home: BucketHome) -> Iterator[Garbage]:
    checkpoints = home.checkpoints
    newest, finished = checkpoints.newest(), home.bucket.has(RESULT)
    if newest is None and not finished:
        yield _garbage(home.bucket, STILLBORN, home.bucket.remove_all)
        return
    kept = {newest, checkpoints.best()} | (_named_by(home.bucket) if finished else set())
    for name, files in sorted(checkpoints.listed().items()):
        cut_off, damaged = not files.issuperset((*FILES, MANIFEST)), newest is None or name > newest
        if cut_off or damaged or (finished and name not in kept):
            why = CUT_OFF if cut_off else DAMAGED if damaged else SUPERFLUOUS
            yield _garbage(checkpoints.bucket.under(name), why, partial(checkpoints.remove, name))
    notes = home.bucket.under(RAY_FOLDER)
    if finished and notes.files():
        yield _garbage(notes, NOTES, notes.remove_all)


def _garbage(bucket: Bucket, why: str, remove: Callable[[], None]) -> Garbage:
    return Garbage(str(bucket), why, sum(bucket.files().values()), remove)


def _named_by(run: Bucket) -> set[str | None]:
    content = json.loads(run.read(RESULT))
    return {content[key].rpartition("/")[2] for key in ("checkpoint", "best_checkpoint") if content[key]}
