"""What the speed tests share: processes that run a case once for every line they get, to be timed in turn."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The other's waiting threads spin for a few milliseconds before they sleep. OMP_WAIT_POLICY=PASSIVE would spare the
# pause, but wakes a sleeping thread for every small operation: a step of nano on two threads took twice its time.
CALM_SECONDS = 0.05


class Runner:
    """A process that runs its case once for every line it gets, and answers with numbers, the first its seconds."""

    def __init__(self, *command: str | Path) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers: list[list[float]] = []

    def run(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        time.sleep(CALM_SECONDS)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.answers.append([float(value) for value in self.process.stdout.readline().split()])

    def close(self) -> None:
        with self.process:  # closes its input, which ends it
            pass


@pytest.fixture
def start() -> Iterator[Callable[..., Runner]]:
    """Starts runners; they end with the test."""
    runners: list[Runner] = []

    def started(*command: str | Path) -> Runner:
        runners.append(Runner(*command))
        return runners[-1]

    yield started
    for runner in runners:
        runner.close()


@pytest.fixture
def oracle_python() -> str:
    python = os.environ.get("RAYOX_ORACLE_PYTHON")
    if not python:
        pytest.skip("RAYOX_ORACLE_PYTHON names no Python with pixeltable-yolox 0.4.3")
    return python
