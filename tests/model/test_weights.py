"""Reading official checkpoints, and giving networks other classes."""

import argparse
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from rayox_model.checkpoint.weights import PretrainedWeights, read_pth, transfer
from rayox_model.core.coco_classes import COCO_CLASSES
from rayox_model.core.errors import ModelError
from rayox_model.nets.yolox import YOLOX


def new_network(num_classes: int, size: str = "nano", seed: int = 0) -> YOLOX:
    torch.manual_seed(seed)
    return YOLOX(size, num_classes)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return new_network(3).state_dict()


def save(payload: object, folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save(payload, path)
    return path


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


def test_coco_names_are_those_of_the_data(shared_data: Path) -> None:
    file = json.loads((shared_data / "coco_dev/annotations/instances_val2017.json").read_text())
    names = [category["name"] for category in sorted(file["categories"], key=lambda c: c["id"])]
    assert tuple(names) == COCO_CLASSES


def test_official_checkpoint(shared_data: Path) -> None:
    weights = read_pth(shared_data / "weights" / "yolox_nano_bncal.pth")
    assert (weights.size, weights.num_classes, weights.classes) == ("nano", 80, COCO_CLASSES)


@pytest.mark.parametrize("size", ["tiny", "s"])
def test_size_is_told_from_shapes(size: str, tmp_path: Path) -> None:
    weights = read_pth(save({"model": YOLOX(size, 2).state_dict()}, tmp_path))
    assert (weights.size, weights.num_classes, weights.classes) == (size, 2, None)


@pytest.mark.slow
def test_all_wrappings_are_the_same(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    parallel = {f"module.{key}": value for key, value in state.items()}
    training = {"start_epoch": 3, "model": state, "optimizer": {"state": {}}, "best_ap": np.float64(0.25)}
    for payload in (state, {"model": state}, {"state_dict": {"model": state}}, {"model": parallel}, training):
        assert same(read_pth(save(payload, tmp_path)).state, state)


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def without_counters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


OTHER = {"criterion.weight": torch.ones(2)}
TRAINERS = {  # what trainers write: the payload of the averaged weights and of the others, and what is said of it
    "torch.compile": (lambda a, b: prefixed("_orig_mod.", a), ""),
    "compiled and parallel": (lambda a, b: {"model": prefixed("module._orig_mod.", a)}, ""),
    "compiled in part": (
        lambda a, b: {key.replace("backbone.", "backbone._orig_mod.", 1): value for key, value in a.items()},
        "",
    ),
    "Lightning": (lambda a, b: {"state_dict": prefixed("model.", a) | OTHER, "epoch": 3}, "keys without 'model.'"),
    "a wrapper's wrapper": (lambda a, b: {"state_dict": prefixed("net.detector.", a)}, "keys without 'net.detector.'"),
    "only ema": (lambda a, b: {"ema": a, "updates": 7}, "averaged weights (ema)"),
    "both": (lambda a, b: {"model": b, "ema": {"module": a, "decay": 0.99}}, "averaged weights (ema.module)"),
    "both in one dict": (
        lambda a, b: {"state_dict": prefixed("model.", b) | prefixed("model_ema.module.", a)},
        "averaged weights (state_dict.model_ema), keys without 'model_ema.'",
    ),
    "AveragedModel": (lambda a, b: prefixed("module.", a) | {"n_averaged": torch.tensor(5)}, ""),
    "without counters": (lambda a, b: without_counters(a), ""),
    "arguments beside": (lambda a, b: {"model": a, "args": argparse.Namespace(lr=0.1)}, ""),
    "optimiser beside": (lambda a, b: {"net": a, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINERS)
def test_other_trainers_files_are_read(name: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    write, said = TRAINERS[name]
    weights = read_pth(save(write(state, new_network(3, seed=1).state_dict()), tmp_path))
    assert weights.taken == said
    assert weights.state.keys() == state.keys()
    assert all(torch.equal(weights.state[key], state[key]) for key in without_counters(state))
    assert transfer(weights, new_network(3, seed=2), ("a", "b", "c")).taken == said


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        ("bbox_head.multi_level_cls_convs.0.0.conv.weight", "mmdetection's YOLOX"),
        ("bbox_head.fc_cls.weight", "mmdetection"),
        ("model.0.conv.weight", "Ultralytics"),
        ("backbone.body.conv1.weight", "torchvision"),
        ("backbone.bottom_up.stem.conv1.weight", "detectron2"),
    ],
)
def test_foreign_layouts_are_named(key: str, layout: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"weights.pth: holds weights in the layout of {layout}.*{key}"):
        read_pth(save({"state_dict": {key: torch.zeros(3)}}, tmp_path))


def test_pickled_objects_are_named_and_not_loaded(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds objects of [\w.]+\.YOLOX, which would run code"):
        read_pth(save({"model": new_network(3)}, tmp_path))


@pytest.mark.slow
def test_numbers_pickled_by_numpy_1_are_read(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = save({"model": state, "best_ap": np.float64(0.25), "curr_ap": np.float32(0.5)}, tmp_path)
    buffer = path.read_bytes()
    assert b"numpy._core" in buffer
    legacy = io.BytesIO()
    torch.save({"model": state, "best_ap": np.float64(0.25)}, legacy, _use_new_zipfile_serialization=False)
    path.write_bytes(legacy.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_pth(path).num_classes == 3


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(ModelError, match="is not a checkpoint"):
        read_pth(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 1, 100, 5_000, 0.5, 0.99])
def test_truncated_files_are_one_clear_message(kept: float, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = save({"model": state}, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ModelError, match=r"weights.pth: is not a checkpoint torch can read") as caught:
        read_pth(path)
    assert "\n" not in caught.value.message
    assert "cut short" in caught.value.hint


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_one_clear_message(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    path = tmp_path / "any.pth"
    path.write_bytes(pickle.dumps({"a": 1})[: seed // 2] + generator.bytes(int(generator.integers(1, 400))))
    with pytest.raises(ModelError, match=r"any.pth"):
        read_pth(path)


@pytest.mark.parametrize(
    "content", [b"hello", b'{"images": []}', b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"PK\x03\x04"]
)
def test_other_kinds_of_files_are_one_clear_message(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other.pth: is not a checkpoint"):
        read_pth(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(ModelError, match="no such file"):
            read_pth(path)


@pytest.mark.parametrize("payload", [{}, {"epoch": 3}, [1, 2], {"model": {"a": 1}}, torch.zeros(3)])
def test_checkpoints_without_weights(payload: object, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no network weights"):
        read_pth(save(payload, tmp_path))


@pytest.mark.slow
def test_checkpoints_of_other_networks(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    stem = "backbone.backbone.stem.conv.conv.weight"
    headless = {key: value for key, value in state.items() if not key.startswith("head")}
    thin = state | {stem: torch.zeros(8, 12, 3, 3)}
    gap = {key: value for key, value in state.items() if key != "head.stems.1.bn.weight"}
    odd = state | {"backbone.lateral_conv0.conv.weight": torch.zeros(1, 2)}
    cases = [
        ({"conv1.weight": torch.zeros(3)}, "is not a YOLOX network"),
        (headless, "is not a whole YOLOX network"),
        (thin, r"stem has 8 channels.*nano 16, tiny 24, s 32"),
        (gap, r"it has no head.stems.1.bn.weight \[64\]"),
        (odd, r"lateral_conv0.conv.weight is \[1, 2\] in the file, \[128, 256, 1, 1\] in yolox-nano"),
        (state | {"extra": torch.zeros(1)}, "a key that no such network has, extra"),
        (state | {"head.stems.1.bn.weight": torch.full((64,), torch.nan)}, "head.stems.1.bn.weight.*not finite"),
    ]
    for payload, message in cases:
        with pytest.raises(ModelError, match=message):
            read_pth(save(payload, tmp_path))


@pytest.mark.slow
def test_names_must_be_as_many_as_classes(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    assert read_pth(save(state, tmp_path), ("a", "b", "c")).classes == ("a", "b", "c")
    with pytest.raises(ModelError, match="has 3 classes, but 2 names"):
        read_pth(save(state, tmp_path), ("a", "b"))


def test_transfer_matches_class_rows_by_name(state: dict[str, torch.Tensor]) -> None:
    weights = PretrainedWeights("file", "nano", 3, ("cat", "Dog", "bird"), state)
    model = new_network(4, seed=1)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    report = transfer(weights, model, ("dog", "horse", "cat", "fox"))
    assert (report.matched, report.fresh, report.matched_by) == (("dog", "cat"), ("horse", "fox"), "name")
    for key, value in model.state_dict().items():
        if key.startswith("head.cls_preds"):
            assert torch.equal(value[[0, 2]], state[key][[1, 0]])
            assert torch.equal(value[[1, 3]], fresh[key][[1, 3]])
        else:
            assert torch.equal(value, state[key]), key
    assert model.head.cls_preds[0].bias[1].sigmoid().item() == pytest.approx(0.01)


def test_transfer_to_the_same_classes_changes_nothing(state: dict[str, torch.Tensor]) -> None:
    weights = PretrainedWeights("file", "nano", 3, ("cat", "dog", "bird"), state)
    model = new_network(3, seed=1)
    assert transfer(weights, model, ("cat", "dog", "bird")).fresh == ()
    assert same(model.state_dict(), state)


def test_transfer_of_nameless_classes(state: dict[str, torch.Tensor]) -> None:
    weights = PretrainedWeights("file", "nano", 3, None, state)
    model = new_network(3, seed=1)
    report = transfer(weights, model, ("a", "b", "c"))
    assert (report.matched, report.matched_by) == (("a", "b", "c"), "position")
    assert same(model.state_dict(), state)
    assert transfer(weights, new_network(2), ("a", "b")).fresh == ("a", "b")


def test_transfer_leaves_the_given_weights_alone(state: dict[str, torch.Tensor]) -> None:
    before = {key: value.clone() for key, value in state.items()}
    model = new_network(3, seed=1)
    transfer(PretrainedWeights("file", "nano", 3, ("a", "b", "c"), state), model, ("a", "x", "y"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    assert same(state, before)


@pytest.mark.slow
def test_weights_of_another_size_are_refused(state: dict[str, torch.Tensor]) -> None:
    weights = PretrainedWeights("nano.pth", "nano", 3, None, state)
    shapes = r"yolox-tiny: backbone.backbone.stem.conv.conv.weight is \[16, 12, 3, 3\].*\[24, 12, 3, 3\]"
    with pytest.raises(ModelError, match=shapes) as caught:
        transfer(weights, new_network(3, "tiny"), ("a", "b", "c"))
    assert "model.size=nano" in caught.value.hint
