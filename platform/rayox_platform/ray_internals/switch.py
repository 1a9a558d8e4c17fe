"""Whether private parts of Ray may be used, and the one line that says when they cannot.

A trick makes something faster that works without it. It is tried when first needed: where another version of Ray has
moved its private parts, the trick is off in that process and a line of the log says so. One that has failed otherwise
is done without this once and tried again when it is next needed. RAYOX_PLAIN_RAY=1 turns off all of them.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from rayox_model.core.plain_ray import is_plain

T = TypeVar("T")

MOVED = (ImportError, AttributeError, TypeError)  # what private parts that have changed raise at the first use

_off: set[str] = set()
_has_worked: set[str] = set()
_has_failed: set[str] = set()


def attempt(trick: str, call: Callable[[], T], otherwise: T) -> T:
    """What call gives, or otherwise where the trick (its name in the log) is off or fails: it never ends a run."""
    if is_plain() or trick in _off:
        return otherwise
    try:
        given = call()
    except Exception as error:  # noqa: BLE001 - whatever it is, all works without the trick; it is reported
        _report(trick, error)
        return otherwise
    _has_worked.add(trick)
    return given


def _report(trick: str, error: Exception) -> None:
    """What has worked in this process has not moved."""
    text, log = f"{type(error).__name__}: {error}", logging.getLogger("rayox")
    if isinstance(error, MOVED) and trick not in _has_worked:
        _off.add(trick)
        log.warning("this version of Ray does without rayox's %s (%s)", trick, text)
    elif trick not in _has_failed:
        _has_failed.add(trick)
        log.warning("rayox's %s failed and is done without for now (%s)", trick, text)
