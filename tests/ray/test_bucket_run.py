"""A run kept in a bucket: killed, gone on with from another machine's state folder, it ends as one in a folder does."""

import json
from pathlib import Path

import pytest
import torch
from object_store import make_bucket, moto_store, point_to
from toy_runs import toy_config, train

from rayox_cluster.local import ray_session
from rayox_model.checkpoint.snapshot import averaged_weights
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.runs.event_kinds import Epoch, Stage, Start
from rayox_platform.runs.places import open_runs
from rayox_platform.train.fault_injection import Kill

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]
STORAGE = "s3://bucket/some/runs"
STEPS = 9


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A store, and a Ray cluster whose workers know it: the session's cluster began without one."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    with moto_store() as address:
        point_to(monkeypatch, address)
        make_bucket(address)
        with ray_session(
            None, num_cpus=2, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported()
        ):
            yield


class Stopped(Exception):
    """The driver ends here, as if it had been killed: nothing is exported or written after it."""


def test_a_run_in_a_bucket_ends_as_one_in_a_folder(bucket, toy_data, tmp_path, monkeypatch):
    whole = train(toy_config(toy_data, tmp_path / "runs", "whole", every_steps=2), lambda event: None)
    config = toy_config(toy_data, Path("unused"), "mine", every_steps=2)
    config = config.model_validate(config.model_dump() | {"storage": STORAGE})
    home = open_runs(STORAGE).home("mine")

    def stop_at_the_end(event):
        if isinstance(event, Stage) and event.text == "drawing predictions":
            raise Stopped

    with pytest.raises(Stopped):
        train(config, stop_at_the_end, faults=(Kill(0, 5),))
    events = home.events.read()
    assert len([event for event in events if isinstance(event, Start)]) == 2, "rank 0 died once"
    assert [event.epoch for event in events if isinstance(event, Epoch)][-1] == 3
    assert not home.shared.has("result.json")
    assert not home.shared.under("claims").files()

    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "another machine's"))
    seen = []
    resumed = train(config, seen.append, resume=True)
    assert resumed.steps == STEPS
    assert not [event for event in seen if isinstance(event, Start)], "there was nothing left to train"
    assert resumed.metrics == whole.metrics
    mine = averaged_weights(home.checkpoints.fetch(home.checkpoints.newest()))
    others = averaged_weights(Path(whole.checkpoint))
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)

    result = json.loads(home.shared.read("result.json"))
    assert result["checkpoint"] == home.checkpoints.address(home.checkpoints.newest())
    assert result["model"] == f"{STORAGE}/mine/model.onnx"
    assert {"model.onnx", "result.json"} <= home.shared.files().keys()
    assert [name for name in home.shared.files() if name.startswith("predictions/")]


def test_a_stopped_run_is_gone_on_with_from_a_fresh_state_folder(bucket, toy_data, tmp_path, monkeypatch):
    """Most of a run by one machine; the store's word is all that the other one has."""
    from rayox_platform.train.resume import last_run, resumed

    whole = train(toy_config(toy_data, tmp_path / "runs", "whole", every_steps=2), lambda event: None)
    config = toy_config(toy_data, Path("unused"), "toy-1", every_steps=2, max_failures=0)
    config = config.model_validate(config.model_dump() | {"storage": STORAGE})
    with pytest.raises(Exception, match="toy-1"):
        train(config, lambda event: None, faults=(Kill(1, 7),))

    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "another machine's"))
    runs = open_runs(STORAGE)
    found = last_run(runs, "toy")
    assert found.run == "toy-1"
    seen = []
    config, chosen = resumed(runs, found, {})
    finished = train(config, seen.append, resume=chosen)
    (start,) = [event for event in seen if isinstance(event, Start)]
    assert start.step in (4, 6)
    assert finished.steps == STEPS
    home = runs.home(found.run)
    mine, others = (
        averaged_weights(path) for path in (home.checkpoints.fetch(home.checkpoints.newest()), Path(whole.checkpoint))
    )
    assert all(torch.equal(mine[key], others[key]) for key in others)
