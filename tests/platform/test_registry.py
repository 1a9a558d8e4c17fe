"""The model as MLflow keeps it: found by name, number and alias; its own code finds what the detector finds."""

import logging
import subprocess
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import load_model
from mlflow_server import MlflowServer
from promotion_drafts import publish_draft
from promotions import TAGS

from rayox_model.augment.letterbox import letterbox
from rayox_model.core.errors import ModelError
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_platform.config.tree import Promotion
from rayox_platform.evaluate.evaluation import to_image_frame
from rayox_platform.evaluate.operating import read_operating
from rayox_platform.models.champion import EXPERIMENT
from rayox_platform.track.registration import register, save_pyfunc
from rayox_platform.track.registry import fetch_registered, find_version, set_alias, versions_of
from rayox_platform.track.tracking import connect, open_run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return connect(None, tmp_path_factory.mktemp("state"), "rayox")


def test_keeping_a_model_says_nothing_and_leaves_nothing_else(toy_onnx, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as said:
        save_pyfunc(tmp_path / "model", toy_onnx)
    assert [str(one.message) for one in said if issubclass(one.category, UserWarning)] == []
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert capfd.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_a_server_is_not_waited_for_after_a_version_is_made(toy_onnx, tmp_path, monkeypatch, caplog):
    """MLflow's client says "waiting up to 300 seconds"; its own SQLite store says nothing of the kind."""
    monkeypatch.setattr(logging.getLogger("mlflow"), "propagate", True)
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    server = MlflowServer(tmp_path)
    server.start()
    try:
        with caplog.at_level(logging.INFO):
            tracking = open_run(connect(server.uri, tmp_path, "rayox"), "a-run", {}, TAGS)
            assert register(tracking, "shapes", toy_onnx, {"AP": 0.5}, 1, {}).version == 1
            team = Promotion(key=str(key), trusted_keys=(str(public),))
            store = connect(server.uri, tmp_path, EXPERIMENT)
            assert publish_draft("shop", 0, toy_onnx, tmp_path, "somebody", store, team).aliases == ("champion",)
    finally:
        server.close()
    assert [one.getMessage() for one in caplog.records if "seconds" in one.getMessage()] == []


def test_the_model_s_own_code_finds_what_the_detector_finds(toy_onnx, tmp_path):
    save_pyfunc(tmp_path / "model", toy_onnx)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, shape, dtype=np.uint8) for shape in ((50, 130, 3), (200, 90, 3))]
    encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    thresholds = {"score_threshold": 1e-4, "nms_threshold": 0.5}
    found = load_model(str(tmp_path / "model")).predict(pd.DataFrame({"image": encoded}), params=thresholds)
    detector = load_onnx_detector(toy_onnx)
    for (_, row), image in zip(found.iterrows(), images, strict=True):
        pixels, ratio = letterbox(image, (64, 96))
        expected = to_image_frame(detector.detect(pixels[None], 1e-4, 0.5)[0], ratio)
        assert len(expected.scores) > 0
        np.testing.assert_allclose(row["scores"], expected.scores, rtol=1e-5)
        np.testing.assert_allclose(row["boxes"], expected.boxes, rtol=1e-3, atol=1e-2)
        assert row["labels"] == [("dim", "bright")[label] for label in expected.labels]


def test_a_served_model_shows_from_its_own_thresholds_on_unless_it_is_given_one(toy_onnx, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    table = pd.DataFrame({"image": [cv2.imencode(".png", image)[1].tobytes()]})
    (everything,) = load_onnx_detector(toy_onnx).detect(image[None], 5e-5, 0.65)
    assert set(everything.labels.tolist()) == {0, 1}
    point = {"precision": 1.0, "recall": 1.0}
    operating = {
        "overall": point | {"threshold": 1.0},
        "classes": {"dim": point | {"threshold": 5e-5}},
        "rule": "F1",
    }
    save_pyfunc(tmp_path / "model", toy_onnx, operating=operating)
    model = load_model(str(tmp_path / "model"))
    assert model.predict(table).iloc[0]["labels"] == ["dim"] * int((everything.labels == 0).sum())
    assert len(model.predict(table, params={"score_threshold": 5e-5}).iloc[0]["scores"]) == len(everything.scores)
    assert read_operating(tmp_path / "model" / "artifacts" / "model.onnx").as_json() == operating


@pytest.mark.slow
def test_versions_are_found_by_number_alias_and_run(toy_onnx, store, tmp_path):
    runs = [open_run(store, name, {}, {}) for name in ("first", "second")]
    first, second = (register(run, "shapes", toy_onnx, {"AP": 0.25}, 12, {"AP": "0.2500"}) for run in runs)
    assert (first.version, second.version) == (1, 2)
    assert register(runs[0], "shapes", toy_onnx, {"AP": 0.25}, 12, {}) == first  # once more after a crash
    set_alias(store, first, "champion")
    assert find_version(store, "shapes", "champion").version == 1
    assert find_version(store, "shapes", None).version == 2
    assert [one.aliases for one in versions_of(store, "shapes")] == [(), ("champion",)]
    for model in ("models:/shapes@champion", "models:/shapes/1", f"runs:/{runs[0].run_id}", "models:/shapes"):
        path = fetch_registered(model, store.uri, tmp_path)
        assert path.read_bytes() == toy_onnx.read_bytes()
    logged = store.client.get_logged_model(first.model_id)
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("AP", 0.25)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/shapez@champion", "shapez: no registered model of that name"),
        ("models:/shapes@best", "no version or alias 'best'"),
        ("models:/shapes/99", "no version or alias '99'"),
        ("runs:/nothing", "no registered model of such a run"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_those_that_are(store, toy_onnx, tmp_path, model, message):
    register(open_run(store, "first", {}, {}), "shapes", toy_onnx, {}, 12, {})
    with pytest.raises(ModelError, match=message):
        fetch_registered(model, store.uri, tmp_path)


def test_a_version_whose_files_are_gone_says_so(store, toy_onnx, tmp_path):
    one = register(open_run(store, "gone", {}, {}), "gone", toy_onnx, {}, 1, {})
    location = store.client.get_logged_model(one.model_id).artifact_location.removeprefix("file://")
    (Path(location) / "artifacts" / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"artifacts/model\.onnx cannot be fetched"):
        fetch_registered("models:/gone", store.uri, tmp_path)
