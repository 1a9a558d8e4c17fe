"""A checkpoint is whole or it is none: every file cut, flipped or missing is found, and the one before is used."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from make_checkpoint import save_checkpoint
from toy_engine import ENGINE

from rayox_model.checkpoint.checkpoint_folder import best_checkpoint, newest_checkpoint, prune
from rayox_model.checkpoint.snapshot import Facts, averaged_weights, read_facts, verify
from rayox_model.core.errors import ModelError
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state

pytestmark = pytest.mark.slow

FILES = ("model.safetensors", "ema.safetensors", "training.pt", "checkpoint.json")


@pytest.fixture
def state():
    return new_state(YOLOX("nano", 2), ENGINE, torch.device("cpu"))


def facts(step):
    return Facts(
        model=YOLOXSpec(size="nano"),
        classes=("cat", "dog"),
        image_size=(64, 96),
        step=step,
        epoch=1,
        config={"a": 1},
        metrics={"AP": 0.5},
    )


def test_what_is_saved_comes_back(tmp_path, state):
    folder = save_checkpoint(tmp_path, state, facts(7))
    assert folder.name == "step-00000007"
    assert read_facts(folder) == facts(7)
    weights = averaged_weights(folder)
    assert all(torch.equal(weights[name], value) for name, value in state.ema.module.state_dict().items())


def test_a_network_of_a_kind_that_this_version_does_not_know_is_named(tmp_path, state):
    folder = save_checkpoint(tmp_path, state, facts(7))
    content = json.loads((folder / "checkpoint.json").read_text())
    assert content["model"] == {"kind": "yolox", "size": "nano"}
    (folder / "checkpoint.json").write_text(json.dumps(content | {"model": {"kind": "detr", "queries": 100}}))
    digests = json.loads((folder / "manifest.json").read_text())
    digests["checkpoint.json"] = hashlib.sha256((folder / "checkpoint.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(digests))
    with pytest.raises(ModelError, match="kind 'detr', which is not one of yolox"):
        read_facts(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_a_harmed_file_is_named_and_the_checkpoint_before_it_is_the_newest(tmp_path, state, name, harm):
    older, newer = (save_checkpoint(tmp_path, state, facts(step)) for step in (1, 2))
    path = newer / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        verify(newer)
    passed_over = []
    assert newest_checkpoint(tmp_path, passed_over.append) == older
    assert len(passed_over) == 1
    assert name in passed_over[0]


def test_without_its_manifest_it_is_no_checkpoint(tmp_path, state):
    folder = save_checkpoint(tmp_path, state, facts(1))
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelError, match="cut off while it was written"):
        read_facts(folder)
    assert newest_checkpoint(tmp_path) is None


def test_another_format_is_refused(tmp_path, state):
    folder = save_checkpoint(tmp_path, state, facts(1))
    content = json.loads((folder / "checkpoint.json").read_text()) | {"format": 99}
    (folder / "checkpoint.json").write_text(json.dumps(content))
    digest = hashlib.sha256((folder / "checkpoint.json").read_bytes()).hexdigest()
    manifest = json.loads((folder / "manifest.json").read_text()) | {"checkpoint.json": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="a checkpoint of format 99"):
        read_facts(folder)


def test_the_newest_and_the_best_are_kept(tmp_path, state):
    for step, ap in enumerate((0.1, 0.7, 0.2, 0.6, 0.3), start=1):
        save_checkpoint(tmp_path, state, replace(facts(step), metrics={"AP": ap}))
        prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000004", "step-00000005"]
    assert best_checkpoint(tmp_path) == tmp_path / "step-00000002"


@pytest.mark.parametrize(("scores", "best"), [((0.0, 0.0, 0.0), 3), ((0.1, 0.7, 0.7, 0.2), 3)])
def test_of_equals_the_latest_is_the_best(tmp_path, state, scores, best):
    for step, ap in enumerate(scores, start=1):
        save_checkpoint(tmp_path, state, replace(facts(step), metrics={"AP": ap}))
        prune(tmp_path, keep=1)
    assert best_checkpoint(tmp_path) == tmp_path / f"step-{best:08d}"
    assert len(list(tmp_path.iterdir())) == (1 if best == len(scores) else 2)


def test_without_an_evaluation_none_is_the_best(tmp_path, state):
    save_checkpoint(tmp_path, state, replace(facts(1), metrics={}))
    assert best_checkpoint(tmp_path) is None
