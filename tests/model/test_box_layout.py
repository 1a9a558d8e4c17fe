"""ONNX files that give their boxes in other forms: read rightly or refused, never taken for what they are not."""

import numpy as np
import onnx
import pytest
import torch
from decoded_onnx import decode_inside

from rayox_model.core.anchors import anchor_points, decode
from rayox_model.core.errors import ModelError
from rayox_model.detect.box_layout import box_layout, to_corners
from rayox_model.detect.nms import non_max_suppression, score_boxes
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_model.nets.yolox import YOLOX

CPU = torch.device("cpu")
FORMS = ("raw", "centers", "corners")
SIZES = ((32, 32), (64, 96), (416, 416), (640, 1280))


def written_as(raw: torch.Tensor, form: str, anchors) -> torch.Tensor:
    corners = decode(raw, anchors)
    centers = torch.cat(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), dim=1)
    return {"raw": raw, "centers": centers, "corners": corners}[form]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_each_form_is_told_and_gives_the_same_boxes(size, form, spread):
    """Numbers as heads give them: places near the anchor point, sizes of about a stride to ten."""
    anchors = anchor_points(*size, CPU)
    random = torch.Generator().manual_seed(1)
    raw = torch.randn(len(anchors.grid), 4, generator=random) * spread + torch.tensor([0.5, 0.5, 0.8, 0.8]) * spread
    numbers = written_as(raw, form, anchors)
    assert box_layout(numbers, anchors) == form
    torch.testing.assert_close(to_corners(numbers[None], form, anchors)[0], decode(raw, anchors), rtol=1e-4, atol=1e-3)


def test_what_is_no_known_form_is_told_too():
    anchors = anchor_points(416, 416, CPU)
    centers = written_as(torch.zeros(len(anchors.grid), 4), "centers", anchors)
    assert box_layout(centers / 416, anchors) is None  # in fractions of the image
    assert box_layout(centers * 100, anchors) is None
    assert box_layout(torch.full_like(centers, float("nan")), anchors) is None
    assert box_layout(centers.clone().index_fill_(0, torch.tensor([3]), float("inf")), anchors) is None


@pytest.mark.parametrize("form", ["centers", "corners"])
def test_a_decoded_file_detects_the_same(toy_onnx, tmp_path, form):
    decoded = decode_inside(toy_onnx, tmp_path / "decoded.onnx", (64, 96), form)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)
    pairs = zip(*(load_onnx_detector(path).detect(images, 0.0001, 0.65) for path in (toy_onnx, decoded)), strict=True)
    for one, other in pairs:
        assert len(one.scores) > 0
        np.testing.assert_allclose(other.boxes, one.boxes, atol=1e-2)
        np.testing.assert_array_equal(other.labels, one.labels)


def test_a_file_of_fractions_is_refused(toy_onnx, tmp_path):
    path = decode_inside(toy_onnx, tmp_path / "fractions.onnx", (64, 96), "fractions")
    with pytest.raises(ModelError, match=r"fractions\.onnx: its boxes are neither YOLOX's regression nor pixels"):
        load_onnx_detector(path)


def test_a_file_that_gives_no_numbers_is_refused(toy_onnx, tmp_path):
    model = onnx.load(toy_onnx)
    for weights in model.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and len(weights.dims) == 4:
            broken = np.full(tuple(weights.dims), np.nan, np.float32)
            weights.CopyFrom(onnx.numpy_helper.from_array(broken, weights.name))
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(ModelError, match=r"nan\.onnx: its output for a grey image is not finite"):
        load_onnx_detector(tmp_path / "nan.onnx")


def test_the_official_file_is_raw_and_decoded_by_hand_it_is_not(shared_data, tmp_path):
    official = shared_data / "weights" / "yolox_nano.onnx"
    load_onnx_detector(official)
    load_onnx_detector(decode_inside(official, tmp_path / "decoded.onnx", (416, 416)))
    with pytest.raises(ModelError, match="neither"):
        load_onnx_detector(decode_inside(official, tmp_path / "other.onnx", (416, 416), "fractions"))


@pytest.mark.parametrize("variant", ["nano", "darknet53"])
def test_new_networks_are_raw(variant):
    """What a head says before it has learned anything, also with large weights."""
    torch.manual_seed(0)
    network, anchors = YOLOX(variant, 3).eval(), anchor_points(96, 64, CPU)
    with torch.inference_mode():
        regression = network(torch.full((1, 3, 96, 64), 114.0))[0][0]
    assert box_layout(regression, anchors) == "raw"


def test_a_box_that_is_not_finite_is_none():
    boxes = torch.tensor([[[0.0, 0, 9, 9], [0, 0, float("inf"), 9], [20, 20, 30, float("nan")], [40, 40, 50, 50]]])
    found = non_max_suppression(score_boxes(boxes, torch.ones(1, 4), torch.ones(1, 4, 2)), 0.1, 0.65)
    np.testing.assert_array_equal(found[0].boxes, [[0, 0, 9, 9], [40, 40, 50, 50]])
