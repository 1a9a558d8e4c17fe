"""This machine's copies of checkpoints in buckets: in its folder for temporary files, whole, verified, a few at most.

An entry counts as long as every object in the bucket has the ETag it was fetched with; so all machines judge a
checkpoint by what is in the bucket now.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rayox_model.checkpoint.snapshot import Verified, verify
from rayox_model.core.errors import ModelError
from rayox_platform.storage.bucket import Stamp

KEEP = 2  # entries besides those in use
IN_USE_SECONDS = 600.0  # for which an entry is left alone after it was fetched
LEFT_SECONDS = 86400.0
STAMPS = ".stamps.json"


def cache_folder(kind: str = "checkpoints") -> Path:
    """One a user and machine."""
    return Path(tempfile.gettempdir()) / f"rayox-{os.getuid()}" / kind


@contextmanager
def scratch(address: str) -> Iterator[Path]:
    """A folder to write in what goes to an address, which has one writer at a time.

    What a killed writer left goes with the next one of its run on this machine, or with any other after a day.
    """
    parent = cache_folder("writing")
    folder = parent / _key(address)
    for left in parent.glob("*"):
        if left == folder or _changed_at(left) < time.time() - LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def cached(address: str, found: Mapping[str, Stamp], download: Callable[[Path], None], written_at: float) -> Verified:
    """The checkpoint at an address, downloaded unless it is here, with written_at as its folder's time.

    Raises ModelError, which names the address, when it is not what its manifest says.
    """
    parent = cache_folder()
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = parent / f"{address.rpartition('/')[2]}-{_key(address)}"
    stamps = json.dumps({name: [stamp.num_bytes, stamp.version] for name, stamp in sorted(found.items())})
    with _alone(parent):
        whole = _found_here(folder, stamps)
        if whole is None:
            _fill(folder, stamps, download)
            try:
                whole = verify(folder)
            except ModelError as error:
                shutil.rmtree(folder, ignore_errors=True)
                raise ModelError(error.message.replace(str(folder), address), error.hint) from error
        (folder / STAMPS).touch()
        os.utime(folder, (time.time(), written_at))
        _clean(parent, folder)
    return whole


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """One process at a time: the ranks of a machine fetch the same."""
    with (parent / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _found_here(folder: Path, stamps: str) -> Verified | None:
    """The folder, if it is still as it was fetched; one that was damaged here since is fetched again."""
    try:
        return verify(folder) if (folder / STAMPS).read_text() == stamps else None
    except (OSError, ModelError):
        return None


def _fill(folder: Path, stamps: str, download: Callable[[Path], None]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    download(folder)
    (folder / STAMPS).write_text(stamps)


def _clean(parent: Path, used: Path) -> None:
    """Remove what was not fetched lately, and what a crash left without stamps; the newest KEEP stay."""
    entries = {
        folder: _changed_at(folder / STAMPS) for folder in parent.iterdir() if folder.is_dir() and folder != used
    }
    for folder in sorted(entries, key=lambda folder: entries[folder], reverse=True)[KEEP - 1 :]:
        if time.time() - entries[folder] > IN_USE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _changed_at(path: Path) -> float:
    """0 of what is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
