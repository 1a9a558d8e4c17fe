"""The loss region against the official code's: both timed in turn in one run, medians compared."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
WARM_UP, ROUNDS = 3, 25
CALM = {"OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads of one do not spin on the other's core


class Runner:
    """A process that runs the case once for every line it gets, and answers with its seconds."""

    def __init__(self, *command: str | Path) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | CALM
        )
        self.seconds: list[list[float]] = []

    def run(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append([float(value) for value in self.process.stdout.readline().split()])

    def medians(self) -> list[float]:
        return [median(values) * 1000 for values in zip(*self.seconds[WARM_UP:], strict=True)]

    def close(self) -> None:
        with self.process:  # closes its input, which ends it
            pass


@pytest.fixture
def oracle_python() -> str:
    python = os.environ.get("RAYOX_ORACLE_PYTHON")
    if not python:
        pytest.skip("RAYOX_ORACLE_PYTHON names no Python with pixeltable-yolox 0.4.3")
    return python


@pytest.mark.bench
@pytest.mark.parametrize("threads", ["1", "2"])
def test_loss_is_ten_times_faster_than_the_official_code(
    oracle_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    """Batch 8, 640 px, 20 boxes an image, 80 classes; from raw outputs to their gradients."""
    monkeypatch.syspath_prepend(str(HERE))
    from loss_cases import speed_case

    path = tmp_path / "speed.npz"
    np.savez(path, **speed_case().arrays())
    official = Runner(oracle_python, HERE / "oracle_loss.py", "time", path, threads)
    ours = Runner(sys.executable, HERE / "rayox_loss.py", path, threads)
    try:
        for _ in range(WARM_UP + ROUNDS):
            for runner in (official, ours):
                runner.run()
    finally:
        official.close()
        ours.close()
    theirs, mine = official.medians(), ours.medians()
    print(f"\n{threads} thread(s), medians of {ROUNDS}: {theirs[0] / mine[0]:.1f} times faster")
    print("official {:.1f} ms (decode {:.1f}, get_losses {:.1f}, backward {:.1f})".format(*theirs))
    print("rayox    {:.1f} ms (assignment {:.1f}, losses {:.1f}, backward {:.1f})".format(*mine))
    assert theirs[0] >= 10 * mine[0]
