"""Whatever a user gives a verb that is wrong: the documented exit code, one message that says what, where and what to
do, the same as JSON, no traceback, and nothing left behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rayox_model.nets.yolox import YOLOX

CODES = {2: "config", 3: "data", 4: "model"}
VERBS = ("train", "evaluate", "predict")


@pytest.fixture
def refused(rayox):
    """Assert that a command line is refused, with words in its message; also with --json, and leaving no file."""

    def check(exit_code: int, *arguments: object, says: tuple[str, ...], code: str | None = None) -> None:
        before = sorted(Path().rglob("*"))
        said = rayox(*arguments)
        assert (said.exit_code, said.out) == (exit_code, ""), said.err
        assert said.err.startswith("error:")
        assert said.err.count("error:") == said.err.count("hint:") == 1
        assert "Traceback" not in said.err
        for word in says:
            assert word in said.err
        as_json = rayox(*arguments, "--json")
        assert (as_json.exit_code, as_json.err, as_json.out.count("\n")) == (exit_code, said.err, 1)
        error = as_json.result["error"]
        assert error["code"] == (code or CODES[exit_code])
        assert error["message"] in said.err
        assert said.err.rstrip().endswith(f"hint: {error['hint']}")
        assert error["hint"]
        assert sorted(Path().rglob("*")) == before

    return check


@pytest.fixture
def data(rayox, toy_data) -> Path:
    """A copy of toy_data in the working folder, to be damaged."""
    return Path(shutil.copytree(toy_data, "data"))


def training(*more: object, annotations: object = "data/train.json", images: object = "data/images") -> list[object]:
    """`rayox train`, as far as it goes without Ray."""
    train = [f"data.train.annotations={annotations}", f"data.train.images={images}"]
    val = ["data.val.annotations=data/val.json", "data.val.images=data/images"]
    return ["train", "scratch", *train, *val, "image_size=64", *more, "--dry-run"]


def evaluation(model: object, annotations: object = "data/val.json", images: object = "data/images") -> list[object]:
    split = [f"data.val.annotations={annotations}", f"data.val.images={images}"]
    return ["evaluate", model, *split, "image_size=64"]


def with_data(verb: str, model: object, annotations: object, images: object) -> list[object]:
    if verb == "train":
        return training(annotations=annotations, images=images)
    return evaluation(model, annotations, images)


def with_model(verb: str, model: object) -> list[object]:
    if verb == "train":
        return training(f"model.init={model}")
    return evaluation(model) if verb == "evaluate" else ["predict", model, "data/images", "-o", "out"]


PLACES = [
    (("tracking.uri=http://127.0.0.1:1",), 9, "tracking", "cannot keep runs at http://127.0.0.1:1"),
    (("--address", "ray://head:10001"), 6, "cluster", "an address of Ray Client"),
    (("--address", "http://head:8265"), 6, "cluster", "the address of a dashboard"),
    (("--address", "127.0.0.1:1"), 6, "cluster", "no Ray cluster answers at 127.0.0.1:1"),
    (("storage=data/train.json/runs", "--name", "a"), 2, "config", "train.json is not a folder"),
]


@pytest.mark.parametrize(("more", "exit_code", "code", "says"), PLACES)
def test_a_dry_run_finds_what_a_start_would_not_reach(refused, data, monkeypatch, more, exit_code, code, says):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("rayox_platform.track.tracking.TRIES", 1)
    refused(exit_code, *training(*more), says=(says,), code=code)


@pytest.mark.slow
def test_good_input_is_taken(rayox, data, nameless_pth, checkpoint):
    """What the tests below damage is right before."""
    for arguments in (training(), *(with_model("train", model) for model in (nameless_pth, checkpoint))):
        said = rayox(*arguments, "--json")
        assert (said.exit_code, said.result) == (0, {"ok": True})
    assert rayox(*evaluation(nameless_pth)).exit_code == 0
    assert rayox(*with_model("predict", checkpoint)).exit_code == 0
    assert not Path(".rayox").exists()


SETTINGS = {
    "train": ["train", "scratch", "--dry-run"],
    "demo": ["demo"],
    "evaluate": ["evaluate", "any.pth"],
    "predict": ["predict", "any.pth", "in", "-o", "out"],
    "config show": ["config", "show", "scratch"],
}


@pytest.mark.parametrize("verb", SETTINGS)
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.epocs=3", "train.epocs: no such setting; did you mean train.epochs?"),
        ("train.epochs=many", "train.epochs: 'many' is not"),
        ("train.epochs=0", "train.epochs: 0 is not"),
        ("image_size=417", "image_size: 417 is not a multiple of 32; use 416 or 448"),
        ("model.size=xl", "'xl' is not one of nano, tiny, s, m, l, x, darknet53"),
        ("train", "train: has no value; write key=value"),
    ],
)
def test_settings(refused, verb, setting, says):
    refused(2, *SETTINGS[verb], setting, says=("command line", says))


@pytest.mark.parametrize("verb", ["train", "config show"])
def test_missing_recipes(refused, verb):
    refused(2, *verb.split(), "shaped", says=("shaped", "shapes"))
    refused(2, *verb.split(), "gone/mine.yaml", says=("gone/mine.yaml",))


def test_recipes_that_are_none(refused):
    Path("list.yaml").write_text("- 1\n")
    Path("broken.yaml").write_text("train: {epochs: 3\n")
    for recipe in ("list.yaml", "broken.yaml"):
        refused(2, "train", recipe, "--dry-run", says=(recipe,))


def test_settings_to_explain(refused):
    refused(2, "config", "explain", "train.epocs", says=("train.epocs", "train.epochs"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "Missing argument 'RECIPE'"),
        (["evaluate"], "Missing argument 'MODEL'"),
        (["predict", "any.pth"], "Missing argument 'SOURCE'"),
        (["predict", "any.pth", "in"], "Missing option '-o'"),
        (["predict", "any.pth", "in", "-o", "out", "--score-threshold", "2"], "2.0 is not in the range 0<=x<=1"),
        (["train", "scratch", "--nome", "a"], "No such option"),
        (["config", "shew"], "No such command 'shew'"),
    ],
)
def test_usage(refused, arguments, says):
    refused(2, *arguments, says=(says, "--help"), code="usage")


def test_no_data_at_all(refused, nameless_pth):
    refused(2, "train", "scratch", "--dry-run", says=("data.train.annotations", "data.val.annotations", "has no value"))
    refused(2, "evaluate", nameless_pth, says=("data.val.annotations", "has no value"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_annotations_and_folders_that_are_not_there(refused, data, checkpoint, verb):
    refused(3, *with_data(verb, checkpoint, "data/gone.json", "data/images"), says=("data/gone.json",))
    refused(3, *with_data(verb, checkpoint, "data", "data/images"), says=("data: cannot be read",))
    refused(3, *with_data(verb, checkpoint, "data/val.json", "data/gone"), says=("data/gone: no such folder",))
    refused(3, *with_data(verb, checkpoint, "shapes:test", "data"), says=("shapes:val",))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("{", "not readable as JSON"),
        ('{"images": [3], "categories": [{"id": 1, "name": "a"}]}', "images[0] is not an object but 3"),
        ("[]", "an object at the top, this one a list"),
        ('{"a": 1}', "no list named 'categories' (found: a)"),
        ('{"images": [], "annotations": [], "categories": []}', "'categories' is empty"),
        ("\udcff\udcfe", "not readable as JSON"),
    ],
)
def test_files_that_are_no_coco(refused, data, checkpoint, verb, content, says):
    Path("data/odd.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(3, *with_data(verb, checkpoint, "data/odd.json", "data/images"), says=("data/odd.json: ", says))


@pytest.mark.slow
def test_a_panoptic_file_is_told_what_is_wanted(refused, data, checkpoint):
    segments = [{"id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}]
    coco = json.loads(Path("data/val.json").read_text())
    coco["annotations"] = [{"image_id": 1, "file_name": "1.png", "segments_info": segments}]
    Path("data/odd.json").write_text(json.dumps(coco))
    for verb in ("train", "evaluate"):
        arguments = with_data(verb, checkpoint, "data/odd.json", "data/images")
        refused(3, *arguments, says=("data/odd.json", "panoptic", "Give instances_*.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("image_id", 99, "image_id 99 is not an image of the file"),
        ("category_id", 99, "category_id 99 is not a category of the file"),
        ("bbox", [1, 2, 3], "bbox is [1, 2, 3]"),
        ("bbox", [1, 2, float("nan"), 4], "bbox is [1, 2, nan, 4]"),
    ],
)
def test_annotations_that_cannot_be(refused, data, checkpoint, field, value, says):
    coco = json.loads(Path("data/val.json").read_text())
    coco["annotations"][1][field] = value
    Path("data/odd.json").write_text(json.dumps(coco))
    for verb in ("train", "evaluate"):
        arguments = with_data(verb, checkpoint, "data/odd.json", "data/images")
        refused(3, *arguments, says=("data/odd.json: annotation 1: ", says))


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_missing_images(refused, data, checkpoint, verb):
    for number in (3, 5):
        Path(f"data/images/val{number}.png").unlink()
    arguments = with_data(verb, checkpoint, "data/val.json", "data/images")
    refused(3, *arguments, says=("2 of its 7 images are missing", "data/images/val3.png"))


@pytest.mark.slow
def test_an_image_that_is_none(refused, data, checkpoint):
    Path("data/images/val3.png").write_text("<html>not found</html>")
    says = ("data/images/val3.png: not an image (it begins with b'<html>not fo')",)
    refused(3, *evaluation(checkpoint), says=says)
    refused(3, "predict", checkpoint, "data/images/val3.png", "-o", "out", says=says)


def test_an_image_of_another_size(refused, data, checkpoint):
    shutil.copy("data/images/val3.png", "data/images/val4.png")
    coco = json.loads(Path("data/val.json").read_text())
    coco["images"][3]["width"] = 100
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *evaluation(checkpoint), says=("val3.png: the image is 64 × 64", "says 100 × 64"))


@pytest.mark.slow
def test_data_of_other_classes(refused, data, checkpoint):
    coco = json.loads(Path("data/val.json").read_text())
    coco["categories"][0]["name"] = "dark"
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *training(), says=("data/val.json: its classes dark, bright", "data/train.json: dim, bright"))
    coco["categories"][1]["name"] = "light"
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *evaluation(checkpoint), says=("(dim, bright)", "(dark, light)", "no name in common"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_model_that_is_not_there(refused, data, verb):
    for model in ("gone.pth", "gone.onnx", "gone/step-00000012", "x" * 300):
        refused(4, *with_model(verb, model), says=(f"{model}: no such model", "an official .pth, an .onnx"))


def test_the_order_of_checks(refused, data):
    """Settings, then the model, then the data."""
    refused(2, *training("train.epocs=1", "model.init=gone.pth", annotations="gone.json"), says=("epocs",))
    refused(2, *training("--resume", "gone", "model.init=gone.pth"), says=("--resume gone",))
    refused(4, *training("model.init=gone.pth", annotations="gone.json"), says=("gone.pth",))
    refused(4, "predict", "gone.pth", "nowhere", "-o", "out", says=("gone.pth",))


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


def test_names_of_runs(refused, data, checkpoint):
    taken = Path(".rayox/runs/taken/checkpoints")
    shutil.copytree(checkpoint, taken / checkpoint.name)
    refused(2, *training("--name", "taken"), says=("there is a run taken", "--resume taken"))
    refused(2, *training("--resume", "gone"), says=("--resume gone: no checkpoint of such a run", ".rayox/runs"))
    refused(2, *training("--resume", "auto"), says=("no unfinished run of scratch", "leave --resume out"))
    (taken.parent / "result.json").write_text("{}")
    refused(2, *training("--resume", "taken"), says=("this run is finished",))
    for name in ("../up", "a/b", ".."):
        refused(2, *training("--name", name), says=(f"{name!r} cannot be a name",))
