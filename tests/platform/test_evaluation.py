"""Running a detector over a data set: every image once, boxes back in its pixels, classes by name."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from rayox_model.core.coco_classes import COCO_CLASSES
from rayox_model.core.errors import DataError
from rayox_model.core.samples import Detections
from rayox_model.detect.onnx_detector import OnnxDetector
from rayox_platform.data.coco import read_coco
from rayox_platform.data.images import CocoImages, folder_images
from rayox_platform.evaluate.evaluation import EvaluationSettings, evaluate_detector, match_classes, relabel


class WhiteBoxDetector:
    """Finds the one white rectangle of each image; a detector whose right answer is known."""

    def __init__(self, classes: tuple[str, ...], label: int) -> None:
        self.classes = classes
        self.image_size = (64, 96)
        self.label = label
        self.batches: list[int] = []

    def detect(self, images: np.ndarray, score_threshold: float, nms_threshold: float) -> list[Detections]:
        assert images.shape[1:] == (*self.image_size, 3)
        self.batches.append(len(images))
        return [self._white(image) for image in images]

    def _white(self, image: np.ndarray) -> Detections:
        x, y, width, height = cv2.boundingRect((image[:, :, 0] > 200).astype(np.uint8))
        box = np.array([[x, y, x + width, y + height]], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.array([self.label]))


@pytest.fixture
def white_boxes(tmp_path: Path) -> CocoImages:
    """Seven images of different shapes, one white box each, and an eighth without; class ids 4 and 6."""
    rng = np.random.default_rng(0)
    coco: dict = {"images": [], "annotations": [], "categories": [{"id": 4, "name": "a"}, {"id": 6, "name": "b"}]}
    for number in range(7):
        height, width = (int(side) * 4 for side in rng.integers(40, 80, 2))
        image = np.zeros((height, width, 3), np.uint8)
        x, y, box_width, box_height = 16 + 4 * number, 20, 80, 64
        image[y : y + box_height, x : x + box_width] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        coco["images"].append({"id": 100 - number, "file_name": f"{number}.png", "height": height, "width": width})
        bbox = [x, y, box_width, box_height]
        annotation = {
            "id": number,
            "image_id": 100 - number,
            "category_id": 6,
            "bbox": bbox,
            "area": 5120,
            "iscrowd": 0,
        }
        coco["annotations"].append(annotation)
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return folder_images(read_coco(tmp_path / "coco.json"), tmp_path)


def test_every_image_is_seen_once_and_boxes_come_back_to_its_pixels(white_boxes):
    detector = WhiteBoxDetector(("other", "b"), label=1)
    told: list[tuple[int, int]] = []
    evaluation = evaluate_detector(
        detector, white_boxes, EvaluationSettings(batch_size=3), lambda *done: told.append(done)
    )
    assert detector.batches == [3, 3, 1]
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert sorted(evaluation.detections) == list(range(7))
    for index, detections in evaluation.detections.items():
        assert detections.labels.tolist() == [1]
        assert np.abs(detections.boxes[0] - white_boxes.annotations(index)[0][0]).max() < 6  # one input pixel or so
    assert asdict(evaluation.scores.metrics)["AP50"] == pytest.approx(1)
    assert evaluation.unknown_classes == ("a",)
    assert evaluation.images_per_second > 0


def test_detections_of_classes_the_data_lacks_are_ignored(white_boxes):
    evaluation = evaluate_detector(WhiteBoxDetector(("other", "b"), label=0), white_boxes)
    assert all(len(detections.scores) == 0 for detections in evaluation.detections.values())
    assert asdict(evaluation.scores.metrics)["AP"] == 0


def test_classes_are_matched_by_name_in_any_order():
    assert match_classes(("b", "x", "a"), ("a", "b", "c")).tolist() == [1, -1, 0]
    assert match_classes(("a", "b"), ("a", "b")).tolist() == [0, 1]


def test_no_common_class_is_a_data_error_with_both_lists():
    with pytest.raises(DataError, match=r"classes \(cat, dog\) and the data's \(rbc\) have no name in common"):
        match_classes(("cat", "dog"), ("rbc",))
    with pytest.raises(DataError, match="80 in all"):
        match_classes(COCO_CLASSES, ("rbc",))


def test_relabelling_nothing_gives_nothing():
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert relabel(nothing, np.array([1, -1])).boxes.shape == (0, 4)


def test_an_unreadable_image_stops_the_evaluation_by_name(white_boxes):
    Path(white_boxes.where(4)).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"4\.png: not an image"):
        evaluate_detector(WhiteBoxDetector(("b",), label=0), white_boxes, EvaluationSettings(batch_size=2))


@pytest.mark.slow
def test_the_official_weights_score_the_published_numbers(shared_data):
    """All 12 COCO numbers of the ONNX file on real images, through decoding, letterbox, NMS and mapping back."""
    session = onnxruntime.InferenceSession(shared_data / "weights/yolox_nano.onnx")
    detector = OnnxDetector(session, tuple(COCO_CLASSES), (416, 416))
    dataset = read_coco(shared_data / "coco_dev/annotations/instances_val2017.json")
    images = folder_images(dataset, shared_data / "coco_dev/val2017")
    evaluation = evaluate_detector(detector, images)
    expected = json.loads((shared_data / "oracle/expected_ap.json").read_text())["results"]["coco_dev_val"]
    assert sum(len(found.scores) for found in evaluation.detections.values()) == expected.pop("dets")
    assert asdict(evaluation.scores.metrics) == pytest.approx(expected, abs=5e-4)
