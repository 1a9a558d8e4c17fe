"""What the private parts of Ray buy: runs with and without them by turns, one of whose workers is killed.

    python tests/bench/plain_ray.py DATA --rounds 2

DATA is a folder with annotations/instances_{train,val}.json and images/. Each run is `rayox train` with two workers;
one is killed by SIGKILL when training has gone on for a while. Prints the medians: seconds from the command to the
first step, from the kill to the next step, and images a second of the epochs that no fault was in.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rayox_platform.runs.event_kinds import Epoch, Failure, Progress, RunEvent, Start
from rayox_platform.runs.events import read_events

SETTINGS = ["image_size=160", "train.batch_size=16", "train.epochs=5", "train.closing_epochs=0", "train.workers=2"]
SETTINGS += ["train.warmup_epochs=1", "train.precision=fp32", "train.multi_scale=0", "train.evaluate_every=5"]
SETTINGS += ["checkpoint.every_steps=5"]
KILLED_IN_EPOCH = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=lambda word: Path(word).resolve())
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {"with them": [], "RAYOX_PLAIN_RAY=1": []}
    for _ in range(asked.rounds):
        for name, plain in (("with them", "0"), ("RAYOX_PLAIN_RAY=1", "1")):
            found[name].append(measure(asked.data, plain))
            print(name, [round(figure, 1) for figure in found[name][-1]], flush=True)
    print("| | first step, s | after a killed worker, s | images a second |\n|---|---|---|---|")
    for name, runs in found.items():
        print(f"| {name} | {' | '.join(f'{statistics.median(figures):.1f}' for figures in zip(*runs, strict=True))} |")


def measure(data: Path, plain: str) -> tuple[float, float, float]:
    """One run: seconds to the first step, seconds from the kill to the next step, images a second."""
    words = [f"data.{split}.annotations={data}/annotations/instances_{split}.json" for split in ("train", "val")]
    words += [f"data.{split}.images={data}/images" for split in ("train", "val")]
    command = [sys.executable, "-m", "rayox", "train", "scratch", *words, *SETTINGS, "--name", "measured", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYOX_PLAIN_RAY": plain}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as told:
        began = time.time()
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=told, stderr=subprocess.STDOUT)
        run = Path(folder) / ".rayox" / "runs" / "measured"
        while running.poll() is None and not any(_epoch(event) >= KILLED_IN_EPOCH for event in _events(run)):
            time.sleep(0.2)
        struck = time.time()
        if running.poll() is None:
            os.kill(next(event.pid for event in _events(run) if isinstance(event, Start)), signal.SIGKILL)
        if running.wait():
            told.seek(0)
            raise SystemExit(told.read().decode()[-3000:])
        events = _events(run)
    steps = [event.time for event in events if isinstance(event, Progress)]
    failed = next(event.time for event in events if isinstance(event, Failure))
    rates = [event.metrics["images_per_second"] for event in events if 2 <= _epoch(event) < KILLED_IN_EPOCH + 1]
    return steps[0] - began, next(step for step in steps if step > failed) - struck, statistics.mean(rates)


def _events(run: Path) -> list[RunEvent]:
    return list(read_events(run)) if run.exists() else []


def _epoch(event: RunEvent) -> int:
    return event.epoch if isinstance(event, Epoch) else 0


if __name__ == "__main__":
    main()
