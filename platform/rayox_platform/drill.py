"""Faults on purpose: a worker harms itself for real at a chosen step, once in the life of a run."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Fault(Protocol):
    def strike(self, folder: Path, rank: int, step: int) -> None:
        """Called by every rank after each of its steps."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL of one rank right after it has taken its step number `step`, before anything of that step is saved."""

    rank: int
    step: int  # counted from 1: the steps that are behind the worker when it dies

    def strike(self, folder: Path, rank: int, step: int) -> None:
        """Die, if this is the rank and the step and it has not happened in this run's folder before."""
        if (rank, step) == (self.rank, self.step) and _first_time(folder / f".killed-rank{rank}-step{step}"):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Hang:
    """One rank stops moving after its step number `step`, as in a lost network or a dead disk; it still lives."""

    rank: int
    step: int
    seconds: float

    def strike(self, folder: Path, rank: int, step: int) -> None:
        if (rank, step) == (self.rank, self.step) and _first_time(folder / f".hung-rank{rank}-step{step}"):
            time.sleep(self.seconds)


def _first_time(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
