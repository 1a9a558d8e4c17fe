"""Splits that nothing can be learned from, or measured on: refused or said before training."""

import json
from pathlib import Path

import pytest


def dry_run(train: Path, val: Path, *more: str) -> list[str]:
    """Images lie in a folder of the annotations' name, or in images/."""
    folders = {"train": train.with_suffix(""), "val": val.with_suffix("")}
    folders = {split: folder if folder.is_dir() else folder.parent / "images" for split, folder in folders.items()}
    data = [f"data.{split}.images={folder}" for split, folder in folders.items()]
    files = [f"data.train.annotations={train}", f"data.val.annotations={val}"]
    return ["train", "scratch", *files, *data, "image_size=64", *more]


@pytest.mark.parametrize("ending", ["--dry-run", "--smoke"])
def test_training_on_crowds_alone_is_refused(rayox, cases, ending):
    said = rayox(*dry_run(cases / "allcrowd/coco.json", cases / "emptyval/train.json", ending))
    assert said.exit_code == 3
    assert "allcrowd/coco.json: nothing to train on: of 12 annotations 12 are crowds" in said.err
    assert "iscrowd 0" in said.err
    assert not Path(".rayox/runs").exists()


def test_training_on_no_annotations_is_refused(rayox, cases):
    said = rayox(*dry_run(cases / "emptyval/val.json", cases / "emptyval/train.json", "--dry-run"))
    assert said.exit_code == 3
    assert "val.json: nothing to train on: it has no annotations" in said.err


def test_training_on_boxes_outside_their_images_is_refused(rayox, cases, tmp_path):
    coco = json.loads((cases / "allcrowd/coco.json").read_text())
    for number, annotation in enumerate(coco["annotations"]):
        annotation |= {"iscrowd": int(number < 3), "bbox": [200 + number, 200, 20, 20]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (tmp_path / "images").symlink_to(cases / "allcrowd/images")
    said = rayox(*dry_run(tmp_path / "coco.json", cases / "emptyval/train.json", "--dry-run"))
    assert said.exit_code == 3
    assert "of 12 annotations 3 are crowds and 9 have no area within their image" in said.err


def test_a_class_of_crowds_alone_is_said(rayox, cases):
    said = rayox(*dry_run(cases / "allcrowd/one_class.json", cases / "emptyval/train.json", "--dry-run"))
    assert said.exit_code == 0
    assert "one_class.json: class 'disc' cannot be learned: its 7 annotations are crowds" in said.err
    checked = rayox("data", "check", cases / "allcrowd/one_class.json", "--json")
    assert {"crowd-only-class"} <= {found["code"] for found in checked.result["findings"]}
    assert "'disc': all 7 have iscrowd 1" in checked.err


@pytest.mark.parametrize(
    ("val", "why"), [("emptyval/val", "no boxes"), ("allcrowd/coco", "all its 12 annotations are crowds")]
)
def test_validating_on_nothing_is_warned_of(rayox, cases, val, why):
    said = rayox(*dry_run(cases / "emptyval/train.json", cases / f"{val}.json", "--dry-run"))
    assert said.exit_code == 0
    assert f"{val}.json: {why}: nothing to find, so there is no AP" in said.err


@pytest.mark.slow
def test_evaluating_on_nothing_gives_no_number(rayox, cases, checkpoint, tmp_path):
    coco = json.loads((cases / "emptyval/val.json").read_text())
    coco["categories"] = [{"id": 1, "name": "dim"}, {"id": 2, "name": "bright"}]
    (tmp_path / "val.json").write_text(json.dumps(coco))
    data = [f"data.val.annotations={tmp_path / 'val.json'}", f"data.val.images={cases / 'emptyval/val'}"]
    said = rayox("evaluate", checkpoint, *data, "--json")
    assert said.exit_code == 0
    assert set(said.result["metrics"].values()) == {None}
    assert said.result["class_ap"] == {"dim": None, "bright": None}
    assert "val.json: no boxes: nothing to find, so there is no AP" in said.err
