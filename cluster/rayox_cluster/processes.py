"""Processes that outlive the command that started them: known by pid, start time and a mark in their environment.

A pid alone may be another process by now. Every child inherits the mark, so what a dead parent left is found too.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

MARK = "RAYOX_CLUSTER_ID"
_children: list[subprocess.Popen[bytes]] = []  # not to be waited for by this process: they outlive it
SAME_START_SECONDS = 1.0  # psutil reckons start times from the boot time, which clocks may correct a little


@dataclass(frozen=True)
class Process:
    """One process of this machine, whoever is its parent now."""

    pid: int
    started: float

    @property
    def is_alive(self) -> bool:
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < SAME_START_SECONDS
            return bool(same and found.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start a program that goes on after this one; what it says is appended to the log. Raises OSError."""
    with log.open("ab") as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
        )
    _children.append(child)
    return Process(child.pid, psutil.Process(child.pid).create_time())


def marked(mark: str) -> list[psutil.Process]:
    """Every process of ours whose environment has the mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(parents: Sequence[Process], mark: str, seconds: float) -> int:
    """SIGTERM to the parents that are still the same processes, then SIGKILL to all that has the mark.

    Returns how many processes there were.
    """
    before = len(marked(mark))
    for parent in parents:
        if parent.is_alive:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(parent.pid).terminate()
    deadline = time.monotonic() + seconds
    while any(parent.is_alive for parent in parents) and time.monotonic() < deadline:
        time.sleep(0.1)
    while left := marked(mark):  # a process may be starting another one just now
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)
    return before
