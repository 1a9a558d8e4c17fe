"""Trials that pause at a rung, fail or are killed: the cluster's own state has nothing of them, while others train.

A trial of two workers holds a placement group that Ray Train made for it; when its process is killed nobody is left to
remove it but the next process of the trial, or the campaign.
"""

import signal
import tempfile

import psutil
import pytest
import ray
from campaign_runs import CampaignRun
from patience import wait_until
from ray.util.state import list_actors

from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.events import read_events

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1800)]
TRIAL, CLEANER = "ray::ImplicitFunc", "PlacementGroupCleaner"
OF_TRIALS = (TRIAL, "ray::TrainController", "ray::RayTrainWorker", "ray::SplitCoordinator", f"ray::{CLEANER}")
CAMPAIGN = {
    "search": {"kind": "grid"},
    "space": {"train.learning_rate": {"choice": [1e-4, 2e-4, 1e30]}},  # with the last no loss is finite for long
    "schedule": {"kind": "promote", "rungs": [1]},
    "budget": {"trials": 3},
    "concurrency": 1,
    "confirm": {"top": 0},
}


@pytest.fixture
def address(monkeypatch):
    """The address of a cluster that outlives the campaign, and is asked about its actors."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="rx-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=0,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


def groups(resource: str = "") -> list[str]:
    """The states of placement groups that are not removed and hold, or want, some of a resource."""
    table = ray.util.placement_group_table().values()
    live = [group for group in table if group["state"] != "REMOVED"]
    return [group["state"] for group in live if any(resource in " ".join(one) for one in group["bundles"].values())]


def actors() -> list[str]:
    """The classes of those that live, but for what Ray Data starts once for a whole cluster."""
    alive = list_actors(filters=[("state", "=", "ALIVE")], detail=True)
    return [actor.class_name for actor in alive if not actor.is_detached or actor.class_name == CLEANER]


def processes() -> list[psutil.Process]:
    """Those of the cluster that work for a trial."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            name = (process.cmdline() or [""])[0]
        except psutil.Error:
            continue
        if name.startswith(OF_TRIALS):
            found.append(process)
    return found


def trial_process() -> psutil.Process:
    return next(process for process in processes() if process.cmdline()[0].startswith(TRIAL))


def test_whatever_ends_a_trial_its_place_is_free(address, toy_data, tmp_path):
    run = CampaignRun(tmp_path, toy_data, CAMPAIGN, workers=2, epochs=2)
    process = run.start("mine.yaml", "--address", address, "--json")
    first = tmp_path / "state" / "runs" / "mine-000"
    try:
        wait_until(lambda: any(isinstance(one, Start) for one in read_events(first)), 300, run.log())
        assert groups("CPU") == ["CREATED"]
        killed = trial_process()
        killed.send_signal(signal.SIGKILL)
        for number in (1, 2):
            wait_until(lambda number=number: len(run.state().trials) > number or process.poll() is not None, 600)
            assert process.poll() is None, run.log()
            wait_until(lambda: len(groups("CPU")) <= 1, 60, "groups of the trials before")
            assert not killed.is_running()
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, (output, run.log())
    trials = run.state().trials
    assert sorted(trial.state for trial in trials) == ["failed", "finished", "paused"]
    assert next(trial for trial in trials if trial.state == "failed").values["train.learning_rate"] == 1e30
    wait_until(lambda: not groups(), 60, f"placement groups: {groups()}")
    wait_until(lambda: not actors(), 60, f"actors: {actors()}")
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0, 60, "CPUs are reserved")
    wait_until(lambda: not processes(), 60, f"processes: {[one.cmdline() for one in processes()]}")
