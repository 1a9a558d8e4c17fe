"""Faults on purpose: a worker harms itself for real at a chosen step, once in the life of a run."""

import os
import signal
import time
from dataclasses import dataclass
from typing import Protocol

from rayox_platform.storage.folders import Folder


class Fault(Protocol):
    def strike(self, marks: Folder, rank: int, step: int) -> None:
        """Called by every rank after each of its steps."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL of one rank right after it has taken its step number `step`, before anything of that step is saved."""

    rank: int
    step: int  # counted from 1: the steps that are behind the worker when it dies

    def strike(self, marks: Folder, rank: int, step: int) -> None:
        """Die, if this is the rank and the step and it has not happened in this run before."""
        if (rank, step) == (self.rank, self.step) and _first_time(marks, f".killed-rank{rank}-step{step}"):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Hang:
    """One rank stops moving after its step number `step`, as in a lost network or a dead disk; it still lives."""

    rank: int
    step: int
    seconds: float

    def strike(self, marks: Folder, rank: int, step: int) -> None:
        if (rank, step) == (self.rank, self.step) and _first_time(marks, f".hung-rank{rank}-step{step}"):
            time.sleep(self.seconds)


def _first_time(marks: Folder, name: str) -> bool:
    """Only one rank ever asks for a name."""
    if marks.has(name):
        return False
    marks.write(name, b"")
    return True
