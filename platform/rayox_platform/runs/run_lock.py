"""A run's folder, claimed by one process at a time: two trainings of one name would write over each other."""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rayox_model.core.errors import ConfigError
from rayox_platform.storage.state import RESULT

LOCK = ".lock"
TRIES = 5  # somebody who only looks holds it for an instant


@contextmanager
def claimed(folder: Path, kept: str = "checkpoints/step-*") -> Iterator[None]:
    """Make the folder if need be and hold it; one made here that is left without a result or what is kept goes.

    The system frees the lock with the process, however that ends. Raises ConfigError when another process holds it,
    or nothing can be written there.
    """
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise ConfigError(
            f"storage: {folder} cannot be written ({error.strerror})", "name another folder by storage=…"
        ) from error
    with file:
        if not _locked(file):
            file.seek(0)
            raise ConfigError(
                f"name: run {folder.name} is being trained by {file.read().strip() or 'another process'}",
                "wait for it, or give another --name",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            if fresh and not any(folder.glob(kept)) and not (folder / RESULT).exists():
                shutil.rmtree(folder, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Raises ConfigError where claimed() would because nothing can be written; nothing is made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        why = "Permission denied" if there.is_dir() else f"{there} is not a folder"
        raise ConfigError(f"storage: {folder} cannot be written ({why})", "name another folder by storage=…")


def holder(folder: Path) -> str | None:
    """Who holds a run's folder, as "process 12 on host"; None when nobody does."""
    try:
        with (folder / LOCK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "another process"
    except OSError:
        pass
    return None


def _locked(file: TextIO) -> bool:
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(0.02)
    return False
