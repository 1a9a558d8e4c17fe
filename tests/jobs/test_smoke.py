"""`rayox train --smoke`: one batch learnt by heart before anything starts, or a failure that says so."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def smoke(rayox, toy_data):
    def run(*more: object, annotations: Path | None = None):
        images = toy_data / "images"
        values = {
            "data.train.annotations": annotations or toy_data / "train.json",
            "data.train.images": images,
            "data.val.annotations": toy_data / "val.json",
            "data.val.images": images,
        }
        given = [f"{key}={value}" for key, value in values.items()]
        said = rayox("train", "scratch", *given, "image_size=64", "train.precision=fp32", *more, "--smoke", "--json")
        assert not Path(".rayox/runs").exists()
        return said

    return run


@pytest.mark.slow
def test_a_batch_of_the_run_is_learnt_and_no_run_is_made(smoke):
    said = smoke()
    assert said.exit_code == 0, said.err
    assert said.result["ok"] is True
    assert said.result["loss_after"] <= said.result["wanted"] < said.result["loss_before"]
    assert (said.result["steps"], said.result["images"]) == (40, 8)
    assert said.result["boxes"] > 0
    assert said.result["positives_per_box"] >= 1
    assert "smoke test 40/40 steps" in said.err
    assert "it learns" in said.err


@pytest.mark.slow
def test_a_loss_that_leaves_nothing_to_learn_fails(smoke):
    said = smoke("loss.iou=0", "loss.objectness=0", "loss.classification=0", "loss.l1=0")
    assert said.exit_code == 8
    assert said.result["error"]["code"] == "training"
    assert "brought the loss from 0 to 0" in said.result["error"]["message"]


def test_a_split_without_a_box_is_refused_before_it_is_trained(smoke, toy_data, tmp_path):
    coco = json.loads((toy_data / "train.json").read_text())
    for annotation in coco["annotations"]:
        annotation["iscrowd"] = 1
    (tmp_path / "crowds.json").write_text(json.dumps(coco))
    said = smoke(annotations=tmp_path / "crowds.json")
    assert said.exit_code == 3
    assert "nothing to train on" in said.result["error"]["message"]
    assert "data check" in said.result["error"]["hint"]


def test_it_is_of_a_new_run_on_this_machine(smoke):
    said = smoke("--resume", "auto")
    assert said.exit_code == 2
    assert "--smoke trains here and from the start" in said.result["error"]["message"]
