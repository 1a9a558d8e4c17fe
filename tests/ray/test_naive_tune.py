"""Why a campaign is planned: Ray Tune's own settings over trainings of two workers wait forever on two CPUs.

Each trial reserves a CPU to wait in, so two trials hold both, and the workers that they wait for find none: Ray Tune
does not see what Ray Train asks for (ray-project/ray#54305). The same numbers are limited or refused by the planner.
"""

import os
import subprocess
import sys

import pytest
import ray
from patience import wait_until
from test_tune_planner import planned_or_refused

from rayox_platform.resources.connected import connected_cluster

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]
NAIVE = """
import sys
from pathlib import Path

import ray
import ray.train
from ray import tune
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

address, folder = sys.argv[1:]


def step():
    Path(folder, "trained").touch()
    ray.train.report({"loss": 0.0})


def trial(setup):
    TorchTrainer(
        step,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name=f"inner-{setup['number']}", storage_path=folder),
    ).fit()


ray.init(address=address, logging_level="ERROR", log_to_driver=False)
tune.Tuner(
    trial,
    param_space={"number": tune.grid_search(list(range(8)))},
    run_config=tune.RunConfig(name="outer", storage_path=folder, verbose=0),
).fit()
"""


def groups(state: str) -> list[list[float]]:
    """The CPUs of the bundles of the placement groups in that state."""
    table = ray.util.placement_group_table().values()
    found = [[one.get("CPU", 0.0) for one in group["bundles"].values()] for group in table if group["state"] == state]
    return sorted(found)


def waits_for_itself() -> bool:
    """Trials hold every CPU, and each of them waits for two workers: nobody who runs can ever give one back."""
    return groups("CREATED") == [[1.0], [1.0]] and groups("PENDING").count([1.0, 1.0]) == 2


def test_eight_trials_of_two_workers_hang_in_ray_tune_and_are_planned_by_rayox(cluster, tmp_path):
    before = connected_cluster()
    address = ray.get_runtime_context().gcs_address
    with (tmp_path / "log.txt").open("w") as log:
        hung = subprocess.Popen(
            [sys.executable, "-c", NAIVE, address, str(tmp_path)],
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            wait_until(waits_for_itself, 120, "it did not come to hold all CPUs")
            assert hung.poll() is None, (tmp_path / "log.txt").read_text()
            assert ray.available_resources().get("CPU", 0.0) == 0.0
            assert not (tmp_path / "trained").exists(), "no worker has begun"
        finally:
            hung.kill()
            hung.wait()
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0, 60, "its CPUs are not free again")
    assert (before.cpus, before.free_cpus) == (2.0, 2.0)
    planned_or_refused(before)
