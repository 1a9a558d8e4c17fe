"""Faults on purpose: a worker ends itself by a real signal at a chosen step, once in the life of a run."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kill:
    """SIGKILL of one rank right after it has taken its step number `step`, before anything of that step is saved."""

    rank: int
    step: int  # counted from 1: the steps that are behind the worker when it dies

    def strike(self, folder: Path, rank: int, step: int) -> None:
        """Die, if this is the rank and the step and it has not happened in this run's folder before."""
        if (rank, step) != (self.rank, self.step):
            return
        done = folder / f".killed-rank{rank}-step{step}"
        try:
            done.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
