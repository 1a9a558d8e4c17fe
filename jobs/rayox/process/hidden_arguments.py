"""Credentials on the command line, taken out of what `ps` shows of this process and of what others read of it."""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

from rayox_model.core.secrets import HIDDEN, without_secrets

WHOLLY_SECRET = "notify."  # settings whose every part may be a token


def hide_credentials(arguments: Sequence[str]) -> None:
    """Write stars over the values in this process's own command line, which is where Linux, ps and Ray read it from.

    Elsewhere than on Linux nothing is done.
    """
    secret = [argument for argument in arguments if shown_argument(argument) != argument]
    if not secret:
        return
    sys.argv[1:] = [shown_argument(argument) for argument in sys.argv[1:]]
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return
    start, end = int(fields[45]), int(fields[46])  # proc(5): arg_start and arg_end, counted from the state on
    for argument in map(str.encode, secret):
        at = ctypes.string_at(start, end - start).find(b"\0" + argument + b"\0")
        shown = argument.find(b"=") + 1  # the key, if there is one
        if at >= 0:
            ctypes.memset(start + at + 1 + shown, ord("*"), len(argument) - shown)


def shown_argument(argument: str) -> str:
    """An argument as it may be shown and kept."""
    key, equals, value = argument.partition("=")
    if equals and key.startswith(WHOLLY_SECRET) and value:
        return f"{key}={HIDDEN}"
    return without_secrets(argument)
