"""Why a campaign is planned: Ray Tune's own settings over trainings of two workers wait forever on two CPUs.

Each trial reserves a CPU to wait in, so two trials hold both, and the workers that they wait for find none: Ray Tune
does not see what Ray Train asks for (ray-project/ray#54305). The same numbers are limited or refused by the planner.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from patience import wait_until
from test_tune_planner import planned_or_refused

from rayox_platform.resources.machines import Room, cluster_of

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]
CPUS = 2
NAIVE = """
import json
import os
import sys
import threading
import time
from pathlib import Path

import ray
import ray.train
from ray import tune
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

folder, temp, cpus = sys.argv[1:]


def look():
    while True:
        table = ray.util.placement_group_table().values()
        groups = [[group["state"], [one.get("CPU", 0.0) for one in group["bundles"].values()]] for group in table]
        state = {"groups": sorted(groups), "free": ray.available_resources().get("CPU", 0.0)}
        Path(folder, "new.json").write_text(json.dumps(state))
        os.replace(Path(folder, "new.json"), Path(folder, "state.json"))
        time.sleep(1.0)


def step():
    Path(folder, "trained").touch()
    ray.train.report({"loss": 0.0})


def trial(setup):
    TorchTrainer(
        step,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name=f"inner-{setup['number']}", storage_path=folder),
    ).fit()


ray.init(address="local", num_cpus=int(cpus), include_dashboard=False, log_to_driver=False, _temp_dir=temp)
threading.Thread(target=look, daemon=True).start()
tune.Tuner(
    trial,
    param_space={"number": tune.grid_search(list(range(8)))},
    run_config=tune.RunConfig(name="outer", storage_path=folder, verbose=0),
).fit()
"""
TRIALS = [["CREATED", [1.0]], ["CREATED", [1.0]]]
THEIR_WORKERS = [["PENDING", [1.0, 1.0]], ["PENDING", [1.0, 1.0]]]


def waits_for_itself(folder: Path) -> bool:
    """Trials hold every CPU, and each of them waits for two workers: nobody who runs can ever give one back."""
    try:
        state = json.loads((folder / "state.json").read_text())
    except FileNotFoundError:
        return False
    wanted = [group for group in state["groups"] if group in THEIR_WORKERS]
    held = [group for group in state["groups"] if group in TRIALS]
    return held == TRIALS and wanted == THEIR_WORKERS and state["free"] == 0.0


def test_eight_trials_of_two_workers_hang_in_ray_tune_and_are_planned_by_rayox(tmp_path):
    with (
        (tmp_path / "log.txt").open("w") as log,
        tempfile.TemporaryDirectory(prefix="rx-", dir="/tmp", ignore_cleanup_errors=True) as temp,
    ):
        hung = psutil.Popen(
            [sys.executable, "-c", NAIVE, str(tmp_path), temp, str(CPUS)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        try:
            wait_until(lambda: waits_for_itself(tmp_path), 120, "it did not come to hold all CPUs")
            assert hung.poll() is None, (tmp_path / "log.txt").read_text()
            assert not (tmp_path / "trained").exists(), "no worker has begun"
        finally:
            for process in [hung, *hung.children(recursive=True)]:
                process.kill()
            hung.wait()
    planned_or_refused(cluster_of(Room(CPUS)))
