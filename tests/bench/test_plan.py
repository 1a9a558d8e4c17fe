"""`rayox plan` held against runs: images a second of nano and s on 1 and 2 workers, the median of 3 of each.

Both are measured in turns, as a machine's speed moves from minute to minute. Beside other work neither figure means
anything, so a busy machine skips this and says so.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from rayox_platform.runs.event_kinds import Epoch
from rayox_platform.runs.home import FolderHome

pytestmark = [pytest.mark.ray, pytest.mark.bench, pytest.mark.timeout(3600)]

ROUNDS, WITHIN = 3, 0.2
BUSY = 0.5  # of a core that others use
SETTINGS = ("image_size=160", "train.batch_size=16", "train.epochs=6", "train.closing_epochs=0", "train.multi_scale=0")
SETTINGS += ("train.warmup_epochs=1", "train.evaluate_every=6", "data.lanes=4", "train.precision=fp32")


@pytest.fixture(scope="module")
def data(shared_data) -> tuple[str, ...]:
    folder = shared_data / "rbc_wbc"
    words = [f"data.{split}.annotations={folder}/annotations/instances_{split}.json" for split in ("train", "val")]
    return *words, *(f"data.{split}.images={folder}/images" for split in ("train", "val"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("size", ["nano", "s"])
def test_a_plan_says_what_a_run_makes(data, tmp_path, size, workers):
    if os.getloadavg()[0] > BUSY:
        pytest.skip(f"the machine is busy: {os.getloadavg()[0]:.1f} processes want its cores")
    words = ["scratch", *data, *SETTINGS, f"model.size={size}", f"train.workers={workers}"]
    planned, made = [], []
    for number in range(ROUNDS):
        told = rayox(tmp_path, "plan", *words, f"--workers={workers}")
        planned.append(told["outlooks"][0]["images_per_second"])
        rayox(tmp_path, "train", *words, "--name", f"run-{number}")
        made.append(rate(tmp_path / ".rayox" / "runs" / f"run-{number}"))
    plan, run = statistics.median(planned), statistics.median(made)
    print(f"| {size}, {workers} worker(s) | {plan:.1f} | {run:.1f} | {plan / run - 1:+.0%} | {planned} {made} |")
    assert abs(plan / run - 1) < WITHIN


def rate(run: Path) -> float:
    """Images a second of a run's later epochs: the first ones have the start of the stream and of Ray in them."""
    epochs = [event for event in FolderHome(run).events.read() if isinstance(event, Epoch)]
    return statistics.mean(event.metrics["images_per_second"] for event in epochs[2:])


def rayox(folder: Path, *words: str) -> dict:
    command = [sys.executable, "-m", "rayox", *words, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
