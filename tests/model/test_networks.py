"""The seven networks against the official checkpoints' layouts; anchor points and decoding by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from rayox_model.core.anchors import anchor_points, decode
from rayox_model.core.errors import ConfigError
from rayox_model.nets.yolox import VARIANTS, YOLOX

CPU = torch.device("cpu")
PARAMETERS = {
    "nano": 912_159,
    "tiny": 5_055_855,
    "s": 8_968_255,
    "m": 25_326_495,
    "l": 54_208_895,
    "x": 99_071_455,
    "darknet53": 63_724_767,
}


def on_meta(size: str, num_classes: int = 80) -> YOLOX:
    with torch.device("meta"):
        return YOLOX(size, num_classes)


@pytest.mark.parametrize("size", VARIANTS)
def test_parameter_count_is_exact(size: str) -> None:
    assert sum(p.numel() for p in on_meta(size).parameters()) == PARAMETERS[size]


@pytest.mark.parametrize("size", VARIANTS)
def test_keys_shapes_and_order_are_official(size: str, shared_data: Path) -> None:
    layout = json.loads((shared_data / "yolox_state_dict" / f"state_dict_{size}.json").read_text())
    state = on_meta(size).state_dict()
    assert [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()] == layout


@pytest.mark.slow
@pytest.mark.parametrize("size", VARIANTS)
def test_forward_shapes_at_an_oblong_size(size: str) -> None:
    predictions = on_meta(size, num_classes=3)(torch.empty(2, 3, 64, 96, device="meta"))
    num_anchors = 8 * 12 + 4 * 6 + 2 * 3
    assert predictions.regression.shape == (2, num_anchors, 4)
    assert predictions.objectness.shape == (2, num_anchors)
    assert predictions.class_logits.shape == (2, num_anchors, 3)


def test_new_network_says_the_prior_everywhere() -> None:
    torch.manual_seed(0)
    model = YOLOX("nano", 3)
    for layer in (*model.head.cls_preds, *model.head.obj_preds):
        assert torch.allclose(layer.bias.sigmoid(), torch.tensor(0.01))
    for layer in model.head.reg_preds:
        assert layer.bias.abs().max() > 0  # torch's own initialisation, untouched
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 104
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


@pytest.mark.slow
def test_darknet53_is_leaky_throughout_and_the_others_never() -> None:
    def kinds(model: YOLOX) -> set[type]:
        return {type(m) for m in model.modules()} & {torch.nn.SiLU, torch.nn.LeakyReLU}

    assert kinds(on_meta("darknet53")) == {torch.nn.LeakyReLU}
    assert {m.negative_slope for m in on_meta("darknet53").modules() if isinstance(m, torch.nn.LeakyReLU)} == {0.1}
    assert kinds(on_meta("nano")) == {torch.nn.SiLU}


@pytest.mark.slow
def test_output_is_raw_in_training_and_evaluation_and_layout_does_not_matter() -> None:
    torch.manual_seed(0)
    model = YOLOX("nano", 3)
    images = torch.rand(2, 3, 64, 64) * 255
    for _ in range(30):  # running statistics come near the batch's own, so that both modes say nearly the same
        trained = model(images)
    evaluated = model.eval()(images)
    assert all(torch.isfinite(part).all() for part in (*trained, *evaluated))
    assert evaluated.objectness.max() < 0  # logits around the prior, not probabilities
    last = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    for part, same in zip(evaluated, last, strict=True):
        torch.testing.assert_close(part, same, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_graph_has_no_break() -> None:
    model = YOLOX("nano", 3).eval()
    program = torch.export.export(model, (torch.zeros(1, 3, 64, 64),))  # refuses data-dependent control flow
    images = torch.rand(1, 3, 64, 64)
    for part, same in zip(model(images), program.module()(images), strict=True):
        torch.testing.assert_close(part, same)


@pytest.mark.parametrize(("size", "num_classes"), [("xl", 3), ("nano", 0)])
def test_impossible_networks_are_refused(size: str, num_classes: int) -> None:
    with pytest.raises(ConfigError, match=r"nano, tiny|at least 1 class"):
        YOLOX(size, num_classes)


def test_anchor_points_by_hand() -> None:
    anchors = anchor_points(32, 64, CPU)
    assert [tuple(level) for level in anchors.levels] == [(4, 8, 8), (2, 4, 16), (1, 2, 32)]
    assert len(anchors.grid) == len(anchors.strides) == 32 + 8 + 2
    assert anchors.grid[9].tolist() == [1, 1]  # second row, second column of stride 8
    assert anchors.grid[32 + 3].tolist() == [3, 0]
    assert anchors.grid[-1].tolist() == [1, 0]
    assert anchors.strides[[0, 31, 32, 39, 40, 41]].tolist() == [8, 8, 16, 16, 32, 32]


def test_published_numbers_of_anchor_points() -> None:
    assert len(anchor_points(416, 416, CPU).grid) == 3549
    assert len(anchor_points(640, 640, CPU).grid) == 8400


def test_anchor_points_made_in_inference_serve_training() -> None:
    with torch.inference_mode():
        anchors = anchor_points(96, 96, CPU)
    assert anchor_points(96, 96, CPU).grid is anchors.grid
    regression = torch.zeros(1, len(anchors.grid), 4, requires_grad=True)
    decode(regression, anchors).sum().backward()
    assert regression.grad is not None


@pytest.mark.parametrize("size", [(100, 96), (96, 100), (0, 32), (-32, 32)])
def test_other_than_multiples_of_32_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"multiples of 32"):
        anchor_points(*size, CPU)


def test_decode_by_hand() -> None:
    anchors = anchor_points(32, 64, CPU)
    regression = torch.zeros(42, 4)
    regression[9] = torch.tensor([0.5, 0.25, math.log(2), math.log(3)])
    boxes = decode(regression, anchors)
    assert boxes[0].tolist() == [-4, -4, 4, 4]  # centre at the corner of the first cell, one stride wide
    torch.testing.assert_close(boxes[9], torch.tensor([12.0 - 8, 10 - 12, 12 + 8, 10 + 12]))
    assert boxes[-1].tolist() == [16, -16, 48, 16]


def test_decode_takes_half_precision_and_gives_float32() -> None:
    anchors = anchor_points(640, 640, CPU)
    half = torch.zeros(2, 8400, 4, dtype=torch.bfloat16)
    boxes = decode(half, anchors)
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, decode(half.float(), anchors), rtol=0, atol=0)
