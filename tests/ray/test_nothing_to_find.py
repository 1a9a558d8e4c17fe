"""A run whose validation images have no boxes: it trains, and nowhere stands a number for what was not measured."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from toy_runs import toy_config, train

from rayox.terminal.training_panel import TrainingStatus
from rayox_platform.config import Config
from rayox_platform.evaluate.metrics import METRICS
from rayox_platform.runs.event_kinds import Diagnosis, Epoch, RunEvent
from rayox_platform.runs.overview import find_run, read_run
from rayox_platform.runs.places import open_runs

pytestmark = pytest.mark.ray


def test_no_number_and_no_best_without_boxes_to_find(cluster, cases, toy_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    values = toy_config(toy_data, tmp_path, "blind", epochs=2, workers=1, batch_size=4).model_dump(mode="json")
    for split in ("train", "val"):
        files = {"annotations": str(cases / f"emptyval/{split}.json"), "images": str(cases / "emptyval" / split)}
        values["data"][split] = files
    events: list[RunEvent] = []
    finished = train(Config.model_validate(values), events.append)

    assert finished.metrics == dict.fromkeys(METRICS)
    assert finished.best_checkpoint is None
    kept = json.loads((Path(tmp_path) / "blind" / "result.json").read_text())
    assert set(kept["metrics"].values()) == {kept["best_checkpoint"]} == {None}
    client = MlflowClient(finished.tracking_uri)
    recorded = client.get_run(finished.run_id).data.metrics
    assert "loss_total" in recorded
    assert not {name for name in recorded if name.startswith(("AP", "AR"))}
    assert read_run(find_run(open_runs(str(tmp_path)), "blind")).metrics == {}
    assert [event for event in events if isinstance(event, Diagnosis)] == []
    status = TrainingStatus("blind", 6, 2)
    lines = [status.take(event) for event in events if isinstance(event, Epoch)]
    assert all(line and "AP –  AP50 –" in line for line in lines), lines
