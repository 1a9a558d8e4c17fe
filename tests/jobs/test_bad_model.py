"""A MODEL that is wrong, given to the verbs that take one: each is refused with one message."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import VERBS, training, with_model

from rayox_model.nets.yolox import YOLOX


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_model_that_is_not_there(refused, data, verb):
    for model in ("gone.pth", "gone.onnx", "gone/step-00000012", "x" * 300):
        refused(4, *with_model(verb, model), says=(f"{model}: no such model", "an official .pth, an .onnx"))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_pth_cut_short(refused, data, nameless_pth, verb, keep):
    Path("cut.pth").write_bytes(nameless_pth.read_bytes()[:keep])
    refused(4, *with_model(verb, "cut.pth"), says=("cut.pth: is not a checkpoint torch can read", "fetch it again"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_pth_of_another_shape(refused, data, verb):
    state = YOLOX("nano", 80).state_dict()
    first, last = next(iter(state)), "head.obj_preds.2.bias"
    more, fewer, other = dict(state) | {"extra.weight": torch.zeros(3)}, dict(state), dict(state)
    del fewer[last]
    other[first] = torch.zeros(16, 12, 5, 5)
    not_finite = dict(state) | {last: torch.full_like(state[last], np.nan)}
    cases = {
        "extra.weight": more,
        f"it has no {last}": fewer,
        f"{first} is [16, 12, 5, 5] in the file, [16, 12, 3, 3]": other,
        f"{last} holds values that are not finite": not_finite,
        "holds no network weights": {"epoch": 3},
        "is not a YOLOX network": {"model": {"fc.weight": torch.zeros(2, 2)}},
    }
    for says, content in cases.items():
        torch.save(content, "odd.pth")
        refused(4, *with_model(verb, "odd.pth"), says=("odd.pth: ", says))


@pytest.mark.slow
def test_weights_of_another_size(refused, data, nameless_pth, checkpoint):
    for weights in (nameless_pth, checkpoint):
        arguments = training(f"model.init={weights}", "model.size=tiny")
        refused(4, *arguments, says=(str(weights), "yolox-tiny", "set model.size=nano"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_checkpoint_folder_cut_short(refused, data, checkpoint, verb):
    """Each of its files, missing, empty and without its last byte."""
    for file in sorted(checkpoint.iterdir()):
        for keep in (None, 0, -1):
            broken = Path(shutil.copytree(checkpoint, "step", dirs_exist_ok=True))
            (broken / file.name).unlink()
            if keep is not None:
                (broken / file.name).write_bytes(file.read_bytes()[:keep])
            refused(4, *with_model(verb, "step"), says=("step", file.name))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("manifest", ["[]", "{}", '["checkpoint.json"]', "7"])
def test_a_manifest_that_is_none(refused, data, checkpoint, verb, manifest):
    shutil.copytree(checkpoint, "step")
    Path("step/manifest.json").write_text(manifest)
    refused(4, *with_model(verb, "step"), says=("step: no checkpoint", "manifest.json"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_is_no_checkpoint(refused, data, verb):
    refused(4, *with_model(verb, "data"), says=("data: no checkpoint", "step-…"))


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x09" * 50])
def test_an_onnx_that_is_none(refused, data, verb, content):
    Path("odd.onnx").write_bytes(content)
    refused(4, *with_model(verb, "odd.onnx"), says=("odd.onnx: is not an ONNX model onnxruntime can load",))


def test_an_onnx_cannot_be_trained(refused, data):
    Path("a.onnx").write_bytes(b"any")
    refused(4, *with_model("train", "a.onnx"), says=("a.onnx: an .onnx cannot be trained", "official .pth"))


def test_a_nameless_model_cannot_predict(refused, data, nameless_pth):
    says = ("does not say what its 2 classes are called", "data.val.annotations=FILE")
    refused(4, *with_model("predict", nameless_pth), says=says)
