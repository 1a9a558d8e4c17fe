"""What a trained run leaves: of its checkpoints the best one is exported, registered and named, not the last."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_engine import ENGINE

from rayox_model.checkpoint.snapshot import Facts, averaged_weights, take_snapshot
from rayox_model.detect.detector import TorchDetector
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state
from rayox_platform.config.tree import Config
from rayox_platform.track.record import recorded
from rayox_platform.track.registry import versions
from rayox_platform.track.tracking import connect
from rayox_platform.train.finishing import finish
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import Trained

pytestmark = pytest.mark.slow
SCORES = (0.25, 0.75, 0.5)


def test_the_best_checkpoint_is_registered_and_not_the_last(toy_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    data = {
        split: {"annotations": str(toy_data / f"{split}.json"), "images": str(toy_data / "images")}
        for split in ("train", "val")
    }
    config = Config.model_validate(
        {"name": "mine", "storage": str(tmp_path / "runs"), "image_size": 64, "model": {"size": "nano"}, "data": data}
    )
    prepared = prepare(config, resume=False)
    classes = prepared.train_images.dataset.classes
    facts = Facts(
        model=YOLOXSpec(size="nano"),
        classes=classes,
        image_size=(64, 64),
        step=0,
        epoch=0,
        config=config.model_dump(mode="json"),
        metrics={},
    )
    store = connect(None, tmp_path / "state", "rayox")
    with (
        prepared.home.claim(),
        recorded(config, prepared.home, prepared.images, store, lambda event: None) as record,
    ):
        for epoch, ap in enumerate(SCORES, start=1):
            torch.manual_seed(epoch)
            state = new_state(YOLOX("nano", len(classes)), ENGINE, torch.device("cpu"))
            told = replace(facts, step=epoch * 2, epoch=epoch, metrics={"AP": ap, "AP50": ap})
            last = prepared.home.checkpoints.write(take_snapshot(state, told))
        trained = Trained(
            name="mine", checkpoint=last, step=6, epoch=3, whole=True, metrics={"AP": SCORES[-1]}, began=0.0
        )
        finished = finish(prepared, trained, record)
    best = Path(finished.best_checkpoint)
    assert (best.name, Path(finished.checkpoint).name) == ("step-00000004", "step-00000006")
    assert (finished.metrics["AP"], finished.best_metrics["AP"]) == (0.5, 0.75)
    (registered,) = versions(store, f"run_id = '{finished.run_id}'")
    assert registered.uri == finished.registered
    assert (registered.tags["checkpoint"], registered.tags["epoch"]) == (best.name, "2")
    assert registered.tags["AP"] == "0.7500"
    assert same_boxes(Path(finished.model), best)


def same_boxes(onnx: Path, checkpoint: Path) -> bool:
    """Whether the exported network is the averaged one of a checkpoint: both find the same."""
    network = YOLOX("nano", 2)
    network.load_state_dict(averaged_weights(checkpoint))
    images = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    (ours,) = TorchDetector(network, ("dim", "bright"), (64, 64)).detect(images, 0.0, 1.0)
    (theirs,) = load_onnx_detector(onnx).detect(images, 0.0, 1.0)
    return np.allclose(np.sort(ours.scores), np.sort(theirs.scores), rtol=1e-4)
