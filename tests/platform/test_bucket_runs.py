"""Runs in a bucket, listed and followed from a machine that does not train them; MLflow's outbox stays where it is."""

import json
from dataclasses import replace

import pytest
from mlflow_server import MlflowServer

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.ending import tell_interrupted
from rayox_platform.runs.event_kinds import Epoch, Start
from rayox_platform.runs.events import follow
from rayox_platform.runs.outbox import Target, open_outbox
from rayox_platform.runs.outbox_entries import Status
from rayox_platform.runs.overview import find_run, is_over, list_runs, read_run
from rayox_platform.runs.places import BucketRuns
from rayox_platform.track.sync import sync_run
from rayox_platform.track.tracking import connect, open_run

pytestmark = pytest.mark.stores


@pytest.fixture
def runs(bucket, tmp_path):
    return BucketRuns(replace(bucket, prefix="bucket/runs"), tmp_path / "state")


def begin(home):
    log = home.events.log()
    log.write(Start(step=0, num_steps=40, epochs=4))
    log.write(Epoch(step=10, epoch=1, metrics={"AP": 0.25}))
    log.flush()


@pytest.mark.slow
def test_they_are_listed_with_their_state(runs, tmp_path):
    assert list_runs(runs) == []
    for name in ("done", "training", "dead"):
        begin(runs.home(name))
    runs.home("done").shared.write("result.json", b'{"registered": "models:/toy/1"}')
    elsewhere = BucketRuns(runs.bucket, tmp_path / "another machine's")
    with runs.home("training").claim():
        found = {run.name: run for run in list_runs(elsewhere)}
        assert not is_over(elsewhere.home("training"))
    assert {name: run.state for name, run in found.items()} == {
        "done": "finished",
        "training": "running",
        "dead": "dead",
    }
    assert found["training"].holder.startswith("process ")
    assert (found["dead"].step, found["dead"].num_steps, found["dead"].metrics) == (10, 40, {"AP": 0.25})
    assert found["dead"].unsent is None, "nobody here knows"
    assert found["done"].folder == f"{runs.bucket}/done"
    assert is_over(runs.home("training"))
    assert not (tmp_path / "another machine's").exists()
    with pytest.raises(ConfigError, match=f"none: no such run in {runs.bucket}"):
        find_run(runs, "none")


@pytest.mark.slow
def test_one_is_followed_from_its_beginning_to_its_end(runs):
    home, looks = runs.home("mine"), iter((False, True))
    begin(home)
    seen = follow(home.events.tail(whole=True), lambda: next(looks), lambda seconds: None)
    assert isinstance(next(seen), Start)
    log = home.events.log()
    log.write(Epoch(step=20, epoch=2, metrics={}))
    log.flush()
    assert [event.step for event in seen] == [10, 20]


@pytest.mark.slow
def test_the_spool_stays_with_the_driver(runs):
    home = runs.home("mine")
    with home.claim():
        begin(home)
        outbox = open_outbox(home.folder, Target("sqlite:///x.db", "1", "a"))
        outbox.add(Status("FAILED", 1.0))
        outbox.close()
        (home.folder / "model.onnx").write_text("")
        home.publish()
    assert {"tracking.jsonl", "tracking.json"} <= {path.name for path in home.folder.iterdir()}, "it had no result"
    assert home.shared.has("model.onnx")
    assert not [name for name in home.shared.files() if name.startswith("tracking")]
    assert (read_run(home).unsent, read_run(home).state) == (1, "failed")


@pytest.mark.slow
def test_it_is_sent_on_by_the_machine_of_its_driver(runs, tmp_path):
    begin(runs.home("mine"))
    elsewhere = BucketRuns(runs.bucket, tmp_path / "another machine's")
    with pytest.raises(ConfigError, match=r"mine: no run in .* has anything for MLflow") as caught:
        sync_run(elsewhere.home("mine"), 1.0)
    assert "machine of its driver" in caught.value.hint


@pytest.mark.faults
def test_a_run_whose_driver_is_gone_is_sent_on_by_any_machine(runs, tmp_path, monkeypatch):
    """Its target is in the bucket; its events give the curves again, its end the status."""
    (tmp_path / "server").mkdir()
    server = MlflowServer(tmp_path / "server")
    server.start()
    try:
        uri = server.uri
        tracking = open_run(connect(uri, tmp_path / "driver", "rayox"), "mine", {}, {})
        home = runs.home("mine")
        begin(home)
        tell_interrupted(home)
        target = {"uri": uri, "experiment_id": tracking.store.experiment_id, "run_id": tracking.run_id}
        home.shared.write("tracking.json", json.dumps(target).encode())
        monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "another machine's"))
        elsewhere = BucketRuns(runs.bucket, tmp_path / "another machine's").home("mine")
        for _ in range(2):  # again, it changes nothing
            assert sync_run(elsewhere, 30.0).run_id == tracking.run_id
        run = tracking.client.get_run(tracking.run_id)
        assert (run.info.status, run.data.metrics) == ("KILLED", {"AP": 0.25})
        assert len(tracking.client.get_metric_history(tracking.run_id, "AP")) == 1
    finally:
        server.kill()
