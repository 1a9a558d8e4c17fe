"""The loss region against the official code's: both timed in turn in one run, medians compared."""

import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
WARM_UP, ROUNDS = 3, 25


@pytest.mark.bench
@pytest.mark.parametrize("threads", ["1", "2"])
def test_loss_is_ten_times_faster_than_the_official_code(
    oracle_python: str, start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    """Batch 8, 640 px, 20 boxes an image, 80 classes; from raw outputs to their gradients."""
    monkeypatch.syspath_prepend(str(HERE))
    from loss_cases import speed_case

    path = tmp_path / "speed.npz"
    np.savez(path, **speed_case().arrays())
    official = start(oracle_python, HERE / "oracle_loss.py", "time", path, threads)
    ours = start(sys.executable, HERE / "rayox_loss.py", path, threads)
    for _ in range(WARM_UP + ROUNDS):
        official.run()
        ours.run()
    theirs, mine = milliseconds(official), milliseconds(ours)
    print(f"\n{threads} thread(s), medians of {ROUNDS}: {theirs[0] / mine[0]:.1f} times faster")
    print("official {:.1f} ms (decode {:.1f}, get_losses {:.1f}, backward {:.1f})".format(*theirs))
    print("rayox    {:.1f} ms (assignment {:.1f}, losses {:.1f}, backward {:.1f})".format(*mine))
    assert theirs[0] >= 10 * mine[0]


def milliseconds(runner) -> list[float]:
    return [median(values) * 1000 for values in zip(*runner.answers[WARM_UP:], strict=True)]
