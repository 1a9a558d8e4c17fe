"""Whether private parts of Ray may be used, and the one line that says when they cannot.

A trick makes something faster that works without it. It is tried when first needed: where another version of Ray has
moved its private parts, the trick is off in that process and a line of the log says so. RAYOX_PLAIN_RAY=1 turns off
all of them.
"""

import logging
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PLAIN = "RAYOX_PLAIN_RAY"
MOVED = (ImportError, AttributeError, TypeError, ValueError, LookupError)  # what private parts that have changed raise

_off: set[str] = set()


def is_plain() -> bool:
    """Whether RAYOX_PLAIN_RAY asks for Ray's public interface alone."""
    return os.environ.get(PLAIN, "0") not in ("", "0")


def attempt(trick: str, call: Callable[[], T], otherwise: T) -> T:
    """What call gives, or otherwise where the trick (its name in the log) is off; other errors are the caller's."""
    if is_plain() or trick in _off:
        return otherwise
    try:
        return call()
    except MOVED as error:
        _off.add(trick)
        text = f"{type(error).__name__}: {error}"
        logging.getLogger("rayox").warning("this version of Ray does without rayox's %s (%s)", trick, text)
        return otherwise
