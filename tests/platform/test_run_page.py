"""What a user finds first on a run's page in MLflow, also of a run that failed."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import mlflow.data
import pytest
from record_events import epoch, progress

from rayox_platform.config.tree import Config
from rayox_platform.data.resolve import resolve_split
from rayox_platform.runs.event_kinds import Failure
from rayox_platform.runs.home import FolderHome
from rayox_platform.track.record import recorded
from rayox_platform.track.tracking import Store, Tracking, connect

pytestmark = pytest.mark.slow

SECRET = "hunter2"


@pytest.fixture
def images(toy_data, tmp_path):
    splits = {"train": "train.json", "val": "val.json"}
    return {
        split: resolve_split(str(toy_data / file), str(toy_data / "images"), tmp_path)[1]
        for split, file in splits.items()
    }


def train(home: FolderHome, images, store: Store, failure: BaseException | None = None) -> Tracking:
    home.folder.mkdir(parents=True)
    config = Config.model_validate({"name": home.name, "tracking": {"step_seconds": 1.0}})
    expected = [type(failure)] if failure else []
    with suppress(*expected), recorded(config, home, images, store, lambda event: None) as record:
        for event in (progress(1), replace(epoch(1), metrics={"loss_total": 3.0, "AP": 0.25, "AP50": 0.5})):
            home.events.tell(event)
            record.handle(event)
        record.handle(replace(epoch(2), metrics={"loss_total": 2.5, "AP": 0.25, "AP50": 0.5}))
        record.handle(replace(epoch(3), metrics={"loss_total": 2.0, "AP": 0.125, "AP50": 0.25}))
        home.events.tell(Failure(text=f"http://bob:{SECRET}@host is away"))
        if failure:
            raise failure
    return record.sender.tracking


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("failure", "status"), [(None, "FINISHED"), (ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_run_has_scores_first_data_sets_command_and_log_however_it_ends(
    tmp_path, images, state, monkeypatch, failure, status
):
    words = ["train", "mine.yaml", "train.epochs=2", f"tracking.uri=http://bob:{SECRET}@host"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/rayox", *words])
    tracking = train(FolderHome(tmp_path / "runs" / "mine"), images, connect(None, state, "cells"), failure)
    run = tracking.client.get_run(tracking.run_id)
    assert run.info.status == status
    assert run.data.tags["mlflow.note.content"] == (
        "**AP 0.125  AP50 0.250** after epoch 3; best AP 0.250 after epoch 2"
    )
    names = list(run.data.metrics)
    assert {name.startswith("system/") for name in names[: names.index("AP")]} == {True}
    assert run.data.tags["command"] == "rayox train mine.yaml train.epochs=2 tracking.uri=http://***@host"
    found = {use.tags[0].value: use.dataset for use in run.inputs.dataset_inputs}
    assert set(found) == {"training", "evaluation"}
    assert mlflow.data.get_source(found["training"]).uri == images["train"].dataset.source
    log = Path(tracking.client.download_artifacts(tracking.run_id, "log.txt")).read_text()
    assert "epoch " in log
    assert "***@host is away" in log
    assert SECRET not in log + str(run)


def test_an_experiment_is_one_of_models_also_if_it_was_there(state):
    store = connect(None, state, "cells")
    kind = "mlflow.experimentKind"
    assert store.client.get_experiment(store.experiment_id).tags[kind] == "custom_model_development"
    old = store.client.create_experiment("older")
    chosen = store.client.create_experiment("chosen", tags={kind: "genai_development"})
    connect(None, state, "older"), connect(None, state, "chosen")
    assert store.client.get_experiment(old).tags[kind] == "custom_model_development"
    assert store.client.get_experiment(chosen).tags[kind] == "genai_development"


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://bob:hunter2@host:5000/", "http://host:5000/#/experiments/3/runs/f00?workflowType=machine_learning"),
        (
            "https://host/mlflow?token=hunter2",
            "https://host/mlflow/#/experiments/3/runs/f00?workflowType=machine_learning",
        ),
        ("sqlite:////a/mlflow.db", ""),
    ],
)
def test_the_page_of_a_run_on_a_server_is_its_address(state, uri, page):
    assert Tracking(Store(connect(None, state, None).client, uri, "3"), "f00").page == page


@pytest.mark.parametrize(
    ("address", "kind"), [("s3://bucket/val.json", "s3"), ("gs://bucket/val.json", "gs"), ("/data/val.json", "local")]
)
def test_mlflow_knows_where_data_lies(state, address, kind):
    store = connect(None, state, "cells")
    tracking = Tracking(store, store.client.create_run(store.experiment_id).info.run_id)
    tracking.log_dataset("val", "d" * 64, address, "evaluation", "{}")
    (use,) = store.client.get_run(tracking.run_id).inputs.dataset_inputs
    assert use.dataset.source_type == kind
    assert mlflow.data.get_source(use.dataset).uri == address
