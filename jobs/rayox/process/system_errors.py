"""What the operating system refuses on a user's path, as one message instead of a defect of rayox."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from rayox_model.core.errors import ConfigError, DataError, ModelError, RayoxError

FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
OF_THE_PATH = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
    errno.EEXIST,
)
OF_THE_MACHINE = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT)
HINTS = {FULL: "make room there, or name another place", DENIED: "change its permissions, or name another place"}
MODEL_VERBS = ("predict", "evaluate", "export", "serve", "promote")


def explained_refusal(error: OSError, arguments: Sequence[str]) -> RayoxError | None:
    """The error as a user's, with the exit code of what its path stands for; None when it is a defect of rayox.

    arguments are those of the command line, by which a path is known as data or model.
    """
    if error.errno in FULL and not error.filename:
        return ConfigError(f"a disk is full ({error.strerror})", "look at `df -h`: make room, or name another place")
    known = (*FULL, *DENIED, *OF_THE_PATH, *OF_THE_MACHINE)
    if error.errno not in known or not isinstance(error.filename, str | bytes | os.PathLike):
        return None
    path = os.fsdecode(error.filename)
    if error.errno in OF_THE_PATH and not _stands_for(path, arguments):
        return None  # a file that rayox itself expected
    message = f"{path}: cannot be {_doing(path, error.errno)} ({error.strerror})"
    hint = next((hint for kinds, hint in HINTS.items() if error.errno in kinds), "check the path")
    return _kind(path, arguments)(message, hint)


def _doing(path: str, number: int | None) -> str:
    if number in (*FULL, errno.EROFS):
        return "written"
    try:
        there = os.stat(path)
    except OSError:
        parent = os.path.dirname(os.path.abspath(path))
        return "written" if os.access(parent, os.R_OK | os.X_OK) and not os.access(parent, os.W_OK) else "read"
    return "written" if there and os.access(path, os.R_OK) and not os.access(path, os.W_OK) else "read"


def _kind(path: str, arguments: Sequence[str]) -> type[RayoxError]:
    verb = next((word for word in arguments if not word.startswith("-")), "")
    key = _stands_for(path, arguments).partition("=")[0]
    if verb == "data" or key.startswith("data."):
        return DataError
    if key == "model.init" or (verb in MODEL_VERBS and arguments.index(verb) + 1 < len(arguments)):
        words = [word for word in arguments if not word.startswith("-")]
        if key == "model.init" or (len(words) > 1 and _holds(words[1], path)):
            return ModelError
    return ConfigError


def _stands_for(path: str, arguments: Sequence[str]) -> str:
    """The argument that names a path, or a folder above it; empty when there is none."""
    return next((word for word in arguments if _holds(word.partition("=")[2] or word, path)), "")


def _holds(named: str, path: str) -> bool:
    if named.startswith("-") or not named:
        return False
    above, below = (Path(os.path.abspath(os.path.expanduser(one))) for one in (named, path))
    return above == below or above in below.parents
