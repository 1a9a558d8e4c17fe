"""`rayox evaluate`: the published metrics of published weights, and the data and settings a model brings along."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from rayox_model.core.samples import Detections
from rayox_platform.evaluate import evaluation
from rayox_platform.evaluate.evaluation import EvaluationSettings

RESULT_KEYS = {
    "metrics",
    "class_ap",
    "model",
    "checkpoint",
    "run_id",
    "steps",
    "images",
    "images_per_second",
    "data_wait_fraction",
    "unknown_classes",
}


@pytest.fixture
def used_settings(monkeypatch) -> list[EvaluationSettings]:
    """The settings of every evaluation."""
    used: list[EvaluationSettings] = []
    evaluate = evaluation.evaluate_detector

    def watched(detector, images, settings, progress):
        used.append(settings)
        return evaluate(detector, images, settings, progress)

    monkeypatch.setattr(evaluation, "evaluate_detector", watched)
    return used


def of(data: Path, annotations: str = "val.json") -> tuple[str, str]:
    return f"data.val.annotations={data / annotations}", f"data.val.images={data / 'images'}"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["yolox_nano_bncal.pth", "yolox_nano.onnx"])
def test_the_metrics_of_the_official_weights(rayox, shared_data, file):
    coco = shared_data / "coco_dev"
    said = rayox(
        "evaluate",
        shared_data / "weights" / file,
        f"data.val.annotations={coco / 'annotations' / 'instances_val2017.json'}",
        f"data.val.images={coco / 'val2017'}",
        "image_size=416",
        "--json",
    )
    assert said.exit_code == 0
    oracle = json.loads((shared_data / "oracle" / "expected_ap.json").read_text())["results"]["coco_dev_val"]
    oracle.pop("dets")
    assert said.result["metrics"] == pytest.approx(oracle, abs=5e-4)
    assert said.result["images"] == 66
    assert len(said.result["class_ap"]) == 80


class SquareDetector:
    """Finds the squares of toy_data, whose brightness is their class."""

    classes = ("dim", "bright")
    image_size = (64, 64)

    def detect(self, images: np.ndarray, score_threshold: float, nms_threshold: float) -> list[Detections]:
        return [self._squares(image) for image in images]

    def _squares(self, image: np.ndarray) -> Detections:
        found = [
            (*cv2.boundingRect(contour), label)
            for label, grey in enumerate((140, 250))
            for contour in cv2.findContours((image[:, :, 0] == grey).astype(np.uint8), 0, 1)[0]
            if cv2.contourArea(contour) > 100
        ]
        boxes = np.array([[x, y, x + width, y + height] for x, y, width, height, _ in found], np.float32)
        labels = np.array([label for *_, label in found], np.int64)
        return Detections(boxes.reshape(-1, 4), np.full(len(found), 0.9, np.float32), labels)


@pytest.fixture
def perfect(monkeypatch) -> None:
    square = SquareDetector()
    monkeypatch.setattr("rayox_platform.models.open_model.open_detector", lambda *_, **__: square)


@pytest.mark.slow
def test_a_perfect_detector(rayox, perfect, toy_data, nameless_pth):
    said = rayox("evaluate", nameless_pth, *of(toy_data), "-o", "found.json", "--json")
    assert said.exit_code == 0
    result = said.result
    assert set(result) == RESULT_KEYS
    assert [result["metrics"][name] for name in ("AP", "AP50", "AP_small", "AR_100")] == pytest.approx([1.0] * 4)
    assert result["metrics"]["AP_large"] is None  # no square is
    assert result["class_ap"] == pytest.approx({"dim": 1.0, "bright": 1.0})
    assert (result["checkpoint"], result["run_id"], result["steps"]) == (None, None, None)
    written = json.loads(Path("found.json").read_text())
    truth = json.loads((toy_data / "val.json").read_text())["annotations"]
    assert sorted((one["image_id"], one["category_id"], one["bbox"]) for one in written) == sorted(
        (one["image_id"], one["category_id"], [float(number) for number in one["bbox"]]) for one in truth
    )


def test_what_people_read(rayox, perfect, toy_data, nameless_pth):
    said = rayox("evaluate", nameless_pth, *of(toy_data))
    lines = [line.split() for line in said.out.splitlines()]
    assert ["AP", "1.000"] in lines
    assert ["AP_large", "–"] in lines
    assert ["dim", "1.000"] in lines


@pytest.mark.slow
def test_a_checkpoint_brings_its_data_and_settings(rayox, checkpoint, used_settings):
    said = rayox("evaluate", checkpoint, "--json")
    assert said.exit_code == 0
    result = said.result
    assert set(result) == RESULT_KEYS
    assert (result["checkpoint"], result["model"], result["steps"]) == (str(checkpoint), str(checkpoint), 12)
    assert result["images"] == 7
    assert set(result["class_ap"]) == {"dim", "bright"}
    assert used_settings[-1].nms_threshold == 0.5


def test_what_is_given_goes_before_what_a_checkpoint_brings(rayox, checkpoint, toy_data, used_settings):
    said = rayox("evaluate", checkpoint, *of(toy_data, "train.json"), "eval.score_threshold=0.3", "--json")
    assert said.result["images"] == 20
    assert (used_settings[-1].score_threshold, used_settings[-1].nms_threshold) == (0.3, 0.5)


def test_the_folder_of_images_alone_can_be_given(rayox, checkpoint, toy_data):
    Path("moved").symlink_to(toy_data / "images")
    assert rayox("evaluate", checkpoint, "data.val.images=moved").exit_code == 0
    assert rayox("evaluate", checkpoint, "data.val.images=gone").exit_code == 3


def constant_onnx(path: Path, num_classes: int) -> Path:
    """An export for 64 × 64 pixels that always answers zero, and names no classes."""
    answer = onnx.helper.make_tensor(
        "zeros", onnx.TensorProto.FLOAT, [1, 84, 5 + num_classes], [0.0] * 84 * (5 + num_classes)
    )
    image = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    output = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, 84, 5 + num_classes])
    node = onnx.helper.make_node("Constant", [], ["output"], value=answer)
    graph = onnx.helper.make_graph([node], "constant", [image], [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.slow
def test_nameless_classes_are_the_datas(rayox, toy_data, nameless_pth):
    for model in (nameless_pth, constant_onnx(Path("two.onnx"), 2)):
        said = rayox("evaluate", model, *of(toy_data), *(["image_size=64"] if model == nameless_pth else []), "--json")
        assert said.exit_code == 0, said.err
        assert said.result["class_ap"].keys() == {"dim", "bright"}
        assert said.result["unknown_classes"] == []
        assert "does not name its classes" in said.err


def test_nameless_classes_of_another_number(rayox, shared_data, nameless_pth):
    rbc = shared_data / "rbc_wbc"
    split = f"data.val.annotations={rbc / 'annotations' / 'instances_val.json'}", f"data.val.images={rbc / 'images'}"
    for model in (nameless_pth, constant_onnx(Path("two.onnx"), 2)):
        said = rayox("evaluate", model, *split, "--json")
        assert said.exit_code == 4
        assert "has 2 classes, but 3 names" in said.result["error"]["message"]


def test_the_order_of_checks(rayox, toy_data, nameless_pth):
    missing = "data.val.annotations=gone.json"
    assert rayox("evaluate", "gone.pth", "train.epocs=1", missing).exit_code == 2
    assert rayox("evaluate", "gone.pth", missing, "-o", "gone/found.json").exit_code == 2
    assert rayox("evaluate", "gone.pth", missing).exit_code == 4
    assert rayox("evaluate", nameless_pth, missing).exit_code == 3
    assert rayox("evaluate", nameless_pth).exit_code == 2  # no data at all


def test_a_size_the_export_does_not_take(rayox, toy_data):
    said = rayox("evaluate", constant_onnx(Path("two.onnx"), 2), *of(toy_data), "image_size=96", "--json")
    assert said.exit_code == 4
    assert "64×64 pixels, not 96×96" in said.result["error"]["message"]
