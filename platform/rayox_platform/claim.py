"""A run's folder, claimed by one process at a time: two trainings of one name would write over each other."""

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayox_model.errors import ConfigError

LOCK = ".lock"
RESULT = "result.json"  # in a finished run's folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder if need be and hold it; a folder made here that is left without a checkpoint or result goes.

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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"name: run {folder.name} is being trained by {file.read().strip() or 'another process'}",
                "wait for it, or give another --name",
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            if fresh and not any(folder.glob("checkpoints/step-*")) and not (folder / RESULT).exists():
                shutil.rmtree(folder, ignore_errors=True)


def is_claimed(folder: Path) -> bool:
    """Whether a process holds a run's folder just now."""
    try:
        file = (folder / LOCK).open("r")
    except OSError:
        return False  # never claimed
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
