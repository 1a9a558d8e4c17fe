"""Operating thresholds, against counting by hand."""

import json

import numpy as np
import pytest

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset, parse_coco
from rayox_platform.evaluate.metrics import matched
from rayox_platform.evaluate.operating import OperatingDetector, choose_thresholds, match_detections


def scene(boxes: int) -> CocoDataset:
    """An image a box of class a, and one crowd of class b in the first."""
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 100, "width": 100} for n in range(boxes)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0}
            for n in range(boxes)
        ],
    }
    crowd = {"id": 999, "image_id": 0, "category_id": 2, "bbox": [50, 50, 50, 50], "area": 2500, "iscrowd": 1}
    coco["annotations"].append(crowd)
    return parse_coco(json.dumps(coco).encode(), "scene.json")


def found(*rows: tuple[float, float, int]) -> Detections:
    """(x, score, label) of boxes at (x, 10) as large as the true ones."""
    boxes = np.array([[x, 10, x + 30, 40] for x, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Detections(boxes, scores, np.array([label for _, _, label in rows], np.int64))


def test_the_threshold_of_the_highest_f1_is_halfway_to_the_next_score():
    dataset = scene(12)
    detections = {n: found((10, 0.9 - n / 100, 0)) for n in range(10)}  # 10 hits from 0.9 to 0.81
    detections[10] = found((60, 0.5, 0), (60, 0.4, 0))  # misses
    chosen = choose_thresholds(dataset, detections)
    assert chosen.classes["a"].threshold == pytest.approx((0.81 + 0.5) / 2, abs=1e-4)
    assert (chosen.classes["a"].precision, chosen.classes["a"].recall) == (1.0, pytest.approx(10 / 12, abs=1e-4))
    assert "b" not in chosen.classes  # nothing but a crowd: it has the threshold of all
    assert chosen.of(("b", "a")).tolist() == pytest.approx([chosen.overall.threshold] * 2)


def test_a_second_box_on_one_object_is_a_miss_and_one_on_a_crowd_does_not_count():
    dataset = scene(10)
    detections = {n: found((10, 0.8, 0), (11, 0.7, 0)) for n in range(10)}
    on_crowd = Detections(np.array([[60, 60, 80, 80]], np.float32), np.float32([0.99]), np.array([1]))
    detections[0] = Detections(*(np.concatenate(pair) for pair in zip(on_crowd, detections[0], strict=True)))
    chosen = choose_thresholds(dataset, detections)
    assert chosen.overall.precision == 1.0
    assert chosen.overall.recall == 1.0
    assert 0.7 < chosen.overall.threshold <= 0.8


@pytest.mark.parametrize("seed", range(8))
def test_which_detections_hit_is_told_as_by_hand(seed):
    """hotcoco's verdicts, against matching one image after another in plain numpy."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (40, 2)), rng.integers(10, 40, (40, 2))
    coco = {
        "images": [{"id": 10 - n, "file_name": f"{n}.png", "height": 100, "width": 100} for n in range(8)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {
                "id": n + 1,
                "image_id": int(rng.integers(3, 11)),
                "category_id": int(rng.integers(1, 3)),
                "bbox": [int(value) for value in (*at, *size)],
                "area": int(size.prod()),
                "iscrowd": int(rng.random() < 0.15),
            }
            for n, (at, size) in enumerate(zip(*corners, strict=True))
        ],
    }
    dataset = parse_coco(json.dumps(coco).encode(), "scene.json")
    detections = {}
    for index in rng.permutation(8)[:6].tolist():
        rows = rng.integers(0, 40, 12)
        xy = corners[0][rows] + rng.integers(-4, 5, (12, 2))
        boxes = np.concatenate([xy, xy + corners[1][rows]], axis=1).astype(np.float32)
        detections[index] = Detections(boxes, rng.permutation(12).astype(np.float32) / 12, rng.integers(0, 2, 12))
    verdicts = matched(dataset, detections, 0.5)
    by_hand = [match_detections(dataset, index, one) for index, one in sorted(detections.items())]
    assert (verdicts == "tp").tolist() == np.concatenate([hit for hit, _ in by_hand]).tolist()
    assert (verdicts != "").tolist() == np.concatenate([counts for _, counts in by_hand]).tolist()


def test_a_wanted_precision_gives_the_lowest_threshold_that_reaches_it():
    dataset = scene(10)
    scores = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7]
    hits = [True, True, False, True, True, False]
    detections = {n: found((10 if hit else 60, s, 0)) for n, (s, hit) in enumerate(zip(scores, hits, strict=True))}
    wanted = choose_thresholds(dataset, detections, precision=0.8).overall  # 4 of 5 from 0.75 on
    assert 0.7 < wanted.threshold <= 0.75
    assert wanted.precision == pytest.approx(0.8)
    assert choose_thresholds(dataset, detections, precision=0.9).overall.recall == pytest.approx(0.2)


def test_a_detector_that_finds_nothing_has_thresholds_too():
    chosen = choose_thresholds(scene(10), {0: found()})
    assert (chosen.overall.threshold, chosen.overall.recall) == (0.5, 0.0)


class Fixed:
    """Gives what it has, from a threshold on."""

    classes = ("a", "b")
    image_size = (32, 32)

    def __init__(self, detections: Detections) -> None:
        self._detections = detections

    def detect(self, images: np.ndarray, score_threshold: float, nms_threshold: float) -> list[Detections]:
        keep = self._detections.scores >= score_threshold
        return [Detections(*(part[keep] for part in self._detections)) for _ in images]


def test_each_class_is_shown_from_its_own_threshold_on():
    dataset = scene(12)
    chosen = choose_thresholds(dataset, {n: found((10, 0.3, 0), (60, 0.1, 0)) for n in range(12)})
    assert chosen.of(("a",))[0] < 0.3
    detector = OperatingDetector(Fixed(found((10, 0.9, 1), (10, 0.31, 0), (10, 0.05, 1))), chosen)
    (shown,) = detector.detect(np.zeros((1, 32, 32, 3), np.uint8), 0.0, 0.5)
    assert shown.scores.tolist() == pytest.approx([0.9, 0.31])
    (fewer,) = detector.detect(np.zeros((1, 32, 32, 3), np.uint8), 0.5, 0.5)
    assert fewer.scores.tolist() == pytest.approx([0.9])
