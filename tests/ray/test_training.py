"""The main job on a toy data set: trained by two workers, evaluated, recorded; a killed worker changes nothing."""

import json
import re
from pathlib import Path

import pytest
import ray
import torch
from mlflow import MlflowClient
from toy_runs import assert_same_weights, toy_config, train

from rayox_model.checkpoint.checkpoint_folder import newest_checkpoint
from rayox_model.checkpoint.snapshot import averaged_weights, read_facts
from rayox_model.core.errors import ConfigError, DataError, ModelError, TrainingError
from rayox_model.replay import kept_step
from rayox_platform.config import Config
from rayox_platform.evaluate.operating import read_operating
from rayox_platform.models.open_model import local_model, open_detector
from rayox_platform.runs.event_kinds import Checkpoint, Diagnosis, Epoch, Failure, Progress, RunEvent, Stage, Start
from rayox_platform.runs.events import read_events
from rayox_platform.runs.places import open_runs
from rayox_platform.track.registry import versions
from rayox_platform.track.tracking import connect
from rayox_platform.train.fault_injection import Kill
from rayox_platform.train.from_config import engine_settings
from rayox_platform.train.prepare import prepare
from rayox_platform.train.resume import resumed_config
from rayox_platform.train.stream_blocks import stream_plan

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def trained(undisturbed):
    """The run that the tests here share, and its state folder as theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYOX_STATE", str(undisturbed[0] / "state"))
        yield undisturbed


def test_the_run_ends_with_a_model_metrics_and_pictures(trained):
    _, finished, events = trained
    assert finished.steps == 9
    assert set(finished.metrics) >= {"AP", "AP50", "AR_100", "AP_small"}
    facts = read_facts(Path(finished.checkpoint))
    assert facts.classes == ("dim", "bright")
    assert facts.epoch == 3
    assert facts.config["train"]["optimizer"] == "adamw"
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2, 3]
    assert (Path(finished.pictures) / "sheet.jpg").stat().st_size > 1000
    assert open_detector(finished.model, None).classes == ("dim", "bright")


def test_who_watches_its_storage_sees_what_is_done_before_the_first_step_and_after_the_last(trained):
    folder, _, _ = trained
    told = read_events(folder / "whole")
    stages = [event.text.partition(" ")[0] for event in told if isinstance(event, Stage)]
    always = [stage for stage in stages if stage != "sending"]  # to MLflow: only where there is something to wait for
    assert always == ["starting", *(["evaluating"] * 3), "drawing", "exporting"]
    (start,) = [event for event in told if isinstance(event, Start)]
    assert start.nodes == [ray.nodes()[0]["NodeID"]] * 2


def test_mlflow_has_one_finished_run_with_all_that_made_it(trained):
    _, finished, _ = trained
    client = MlflowClient(finished.tracking_uri)
    experiment = client.get_experiment_by_name("rayox").experiment_id
    runs = client.search_runs([experiment], filter_string="tags.`rayox.run` = 'whole'")
    assert [run.info.run_id for run in runs] == [finished.run_id]
    run = runs[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.tags["classes"] == "dim, bright"
    assert len(run.data.tags["data.train.fingerprint"]) == 64
    assert run.data.tags["data.train.fingerprint"] != run.data.tags["data.val.fingerprint"]
    assert set(run.data.tags) >= {
        "version.torch",
        "version.ray",
        "packages.digest",
        "mlflow.source.name",
        "mlflow.source.git.commit",
    }
    contexts = {one.tags[0].value: one.dataset.name for one in run.inputs.dataset_inputs}
    assert contexts == {"training": "train (train)", "evaluation": "val (val)"}
    for name in ("loss_total", "AP", "images_per_second"):
        assert {point.step for point in client.get_metric_history(finished.run_id, name)} == {1, 2, 3}, name
    assert run.data.metrics["AP"] == pytest.approx(finished.metrics["AP"])
    assert "predictions/sheet.jpg" in {item.path for item in client.list_artifacts(finished.run_id, "predictions")}


def test_the_detector_is_a_registered_version_that_finds_the_same(trained, toy_data):
    """Loaded by MLflow from its own code and ONNX file, without a pickle; found again by name."""
    folder, finished, _ = trained
    store = connect(finished.tracking_uri, folder / "state", None)
    (registered,) = versions(store, f"run_id = '{finished.run_id}'")
    assert (registered.uri, finished.registered) == ("models:/rayox/1", "models:/rayox/1")
    assert registered.tags["checkpoint"] == Path(finished.best_checkpoint).name
    assert registered.tags["AP"] == f"{finished.metrics['AP']:.4f}"
    location = Path(store.client.get_logged_model(registered.model_id).artifact_location.removeprefix("file://"))
    assert not list(location.rglob("*.pkl"))
    assert "opencv-python-headless==" in (location / "requirements.txt").read_text()
    path = local_model("models:/rayox/1", finished.tracking_uri, folder / "state")
    assert Path(path).read_bytes() == Path(finished.model).read_bytes()
    operating = read_operating(Path(path))
    assert operating is not None
    assert operating.rule == "F1"
    assert operating == read_operating(Path(finished.best_checkpoint))
    assert local_model(f"runs:/{finished.run_id}/model", finished.tracking_uri, folder / "state") == path
    with pytest.raises(ModelError, match="has no champion"):
        local_model("models:/rayox@champion", finished.tracking_uri, folder / "state")


@pytest.mark.faults
@pytest.mark.parametrize(("rank", "step", "latest"), [(0, 4, 3), (1, 2, 0)])
def test_a_killed_worker_changes_nothing(trained, toy_data, rank, step, latest):
    """SIGKILL a rank after a step; the run goes on from the last checkpoint and ends with the same weights."""
    folder, finished, _ = trained
    events: list[RunEvent] = []
    config = toy_config(toy_data, folder, f"killed-rank{rank}-step{step}")
    again = train(config, events.append, faults=(Kill(rank, step),))
    ended = next(index for index, event in enumerate(events) if isinstance(event, Failure))
    written = max((event.step for event in events[:ended] if isinstance(event, Checkpoint)), default=0)
    started = [event.step for event in events if isinstance(event, Start)]
    # Checkpoints are written beside the training: the latest may be whole, said or unsaid, or still on its way.
    assert started in ([0, written], [0, latest])
    assert again.steps == finished.steps
    assert_same_weights(finished, again)


def test_an_unreadable_image_ends_the_run_at_once_with_its_path(cluster, toy_data, tmp_path, monkeypatch):
    """No restart can mend it, so none is tried; the MLflow run is marked as failed."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    images = tmp_path / "images"
    images.mkdir()
    for path in (toy_data / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    (images / "train3.png").write_bytes(b"not an image")
    config = toy_config(toy_data, tmp_path, "damaged", images=images)
    events: list[RunEvent] = []
    with pytest.raises(DataError, match=r"train3\.png"):
        train(config, events.append)
    assert sum(isinstance(event, Start) for event in events) <= 1
    client = MlflowClient(f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}")
    run = client.search_runs([client.get_experiment_by_name("rayox").experiment_id])[0]
    assert run.info.status == "FAILED"


def test_a_taken_name_is_refused(trained, toy_data):
    folder, _, _ = trained
    with pytest.raises(ConfigError, match="there is a run whole"):
        prepare(toy_config(toy_data, folder, "whole"), resume=False)
    assert newest_checkpoint(folder / "whole" / "checkpoints") is not None


def test_a_finished_run_is_not_resumed(trained, toy_data):
    folder, _, _ = trained
    with pytest.raises(ConfigError, match="is finished"):
        prepare(toy_config(toy_data, folder, "whole"), resume=True)
    assert json.loads((folder / "whole" / "result.json").read_text())["steps"] == 9


@pytest.mark.faults
def test_three_workers_share_four_lanes_and_divide_by_the_positives_of_all(cluster, toy_data, tmp_path, monkeypatch):
    """Unequal shares (4, 2 and 2 images, in turn): every step is taken, with one loss and equal weights."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    tree = toy_config(toy_data, tmp_path, "three").model_dump(mode="json")
    tree["train"] |= {"workers": 3, "batch_norm": "synchronised", "accumulate": 2, "clip_grad_norm": 50.0}
    events: list[RunEvent] = []
    finished = train(Config.model_validate(tree), events.append)
    assert finished.steps == 9
    assert [event.workers for event in events if isinstance(event, Start)] == [3]
    epochs = [event.metrics for event in events if isinstance(event, Epoch)]
    assert all(metrics["gradient_norm"] > 0 and metrics["positives_per_box"] >= 1 for metrics in epochs)
    zero = [number for number, metrics in enumerate(epochs, start=1) if metrics["AP"] == 0]
    assert zero, "after a few steps nothing is found yet"
    assert [event.epoch for event in events if isinstance(event, Diagnosis)] == zero
    history = MlflowClient(finished.tracking_uri).get_metric_history(finished.run_id, "positives_per_box")
    assert {point.step for point in history} == {1, 2, 3}


def test_a_loss_that_is_no_number_ends_the_run_with_its_images_and_without_a_restart(
    cluster, toy_data, tmp_path, monkeypatch
):
    """At a rate without bounds the weights explode; both workers stop, and the newest checkpoint is finite."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    tree = toy_config(toy_data, tmp_path, "exploding").model_dump(mode="json")
    tree["train"] |= {"learning_rate": 1e30, "optimizer": "sgd", "warmup_epochs": 0.0}
    tree["checkpoint"] = {"every_steps": 1}
    events: list[RunEvent] = []
    with pytest.raises(TrainingError, match=r"of step \d+ \(epoch \d\) is not finite: total ") as caught:
        train(Config.model_validate(tree), events.append)
    assert "image 1" in caught.value.message
    (step,) = set(re.findall(r"of step (\d+)", caught.value.message))
    assert sum(isinstance(event, Start) for event in events) == 1
    newest = newest_checkpoint(tmp_path / "exploding" / "checkpoints")
    assert newest is not None
    assert read_facts(newest).step == int(step)
    assert all(bool(torch.isfinite(value).all()) for value in averaged_weights(newest).values())
    kept = list((tmp_path / "exploding" / "non_finite").glob(f"step-{int(step):08d}-rank-*.safetensors"))
    assert kept
    assert len(kept_step(kept[0]).images) == 4


@pytest.mark.faults
def test_a_finished_run_is_trained_further_with_the_schedule_of_the_longer_one(trained, toy_data):
    """The same MLflow run and folder; nothing of the first epochs is trained again."""
    folder, _, _ = trained
    finished = train(toy_config(toy_data, folder, "longer"), lambda event: None)
    runs = open_runs(str(folder))
    with pytest.raises(ConfigError, match="is finished"):
        resumed_config(runs, "longer", {})
    config = resumed_config(runs, "longer", {}, extend=2)
    assert config.train.epochs == 5
    events: list[RunEvent] = []
    longer = train(config, events.append, resume=True, extend=True)
    assert longer.steps == 15
    assert longer.run_id == finished.run_id
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [4, 5]
    rates = {event.step: event.learning_rate for event in events if isinstance(event, Progress)}
    engine = engine_settings(config, stream_plan(config, 20), "cpu")
    assert rates[10] == pytest.approx(engine.schedule.at(9))
    with pytest.raises(ConfigError, match="is finished"):
        prepare(config, resume=True)
