"""One local Ray cluster for all tests here: starting one takes longer than most of them."""

import os

import pytest

from rayox_cluster.local import RAY_SETTINGS, ray_session
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.runs.event_kinds import RunEvent

for name, value in RAY_SETTINGS.items():  # Ray reads some when it is imported: raylets may start on a busy machine
    os.environ.setdefault(name, value)

from toy_runs import toy_config, train  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    with ray_session(None, num_cpus=2, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported()):
        yield


@pytest.fixture(scope="session")
def undisturbed(cluster, toy_data, tmp_path_factory):
    """(folder, result, events) of one toy run without a fault and with a checkpoint every second step."""
    folder = tmp_path_factory.mktemp("runs")
    events: list[RunEvent] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYOX_STATE", str(folder / "state"))
        return folder, train(toy_config(toy_data, folder, "whole", every_steps=2), events.append), events
