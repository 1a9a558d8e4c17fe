"""How a run ended and why, in its storage and before anything else is done about it: every machine then says the same.

A finished run has its result instead; one whose driver was killed has neither.
"""

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Literal

from rayox_model.core.errors import RayoxError
from rayox_platform.runs.home import RunHome

FILE = "end.json"
INTERRUPTED = 130


Status = Literal["failed", "interrupted", "paused", "finished"]


@dataclass(frozen=True)
class End:
    """The last word of a driver that did not finish, or of a campaign's trial, which leaves no result."""

    status: Status
    reason: str
    exit_code: int  # as documented
    time: float
    host: str


@contextmanager
def end_told(home: RunHome) -> Iterator[None]:
    """Forget an earlier driver's end, and tell how the with block ends, if that is by an exception."""
    with suppress(OSError):  # a store that is away is met by whoever writes to it next
        home.shared.remove(FILE)
    try:
        yield
    except KeyboardInterrupt:
        tell_interrupted(home)
        raise
    except RayoxError as error:
        _tell(home, "failed", error.message, error.exit_code)
        raise
    except Exception as error:
        _tell(home, "failed", f"internal error: {type(error).__name__}: {error}", 1)
        raise


def tell_interrupted(home: RunHome) -> None:
    """Somebody has stopped the run; told at the first signal, as whoever sent it may not wait for the rest."""
    _tell(home, "interrupted", f"stopped by a signal on {platform.node()}", INTERRUPTED)


def tell_rest(home: RunHome, status: Literal["paused", "finished"], reason: str) -> None:
    """A campaign's trial has come to its rung, or to its end."""
    _tell(home, status, reason, 0)


def read_end(home: RunHome) -> End | None:
    """Raises OSError of a store that is away."""
    try:
        return End(**json.loads(home.shared.read(FILE)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _tell(home: RunHome, status: Status, reason: str, exit_code: int) -> None:
    end = End(status, reason, exit_code, time.time(), platform.node())
    with suppress(OSError):  # the store is away, which may be why it ends
        if home.is_begun():
            home.shared.write(FILE, json.dumps(asdict(end)).encode())
