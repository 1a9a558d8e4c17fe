"""The paired bootstrap against one by hand on pycocotools, and what it may call better."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset, parse_coco
from rayox_platform.evaluate.compare import Difference, paired_bootstrap

IMAGES, CLASSES = 24, 2


@pytest.fixture(scope="module")
def scene():
    """A data set, and what a good and a worse detector find in it."""
    rng = np.random.default_rng(0)
    coco = {"images": [], "annotations": [], "categories": [{"id": n + 1, "name": f"c{n}"} for n in range(CLASSES)]}
    found: tuple[dict[int, Detections], dict[int, Detections]] = ({}, {})
    for image in range(IMAGES):
        coco["images"].append({"id": image + 1, "file_name": f"{image}.png", "height": 300, "width": 300})
        corners = rng.uniform(0, 200, (int(rng.integers(1, 5)), 2))
        labels = rng.integers(0, CLASSES, len(corners))
        for corner, label in zip(corners, labels, strict=True):
            number = len(coco["annotations"]) + 1
            box = {"id": number, "image_id": image + 1, "category_id": int(label) + 1, "iscrowd": 0, "area": 3600.0}
            coco["annotations"].append(box | {"bbox": [*map(float, corner), 60.0, 60.0]})
        for one, (shift, lost) in zip(found, ((4, 0.1), (9, 0.3)), strict=True):
            kept = rng.uniform(size=len(corners)) >= lost
            moved = corners[kept] + rng.normal(0, shift, (int(kept.sum()), 2))
            extra = rng.uniform(0, 200, (2, 2))
            boxes = np.concatenate([np.concatenate([moved, extra]), np.concatenate([moved, extra]) + 60], axis=1)
            scores = np.concatenate([rng.uniform(0.4, 1, len(moved)), rng.uniform(0, 0.6, 2)])
            kinds = np.concatenate([labels[kept], rng.integers(0, CLASSES, 2)])
            order = np.argsort(-scores)
            one[image] = Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32), kinds[order])
    return parse_coco(json.dumps(coco).encode(), "scene.json"), found


def average_precision(dataset: CocoDataset, found: dict[int, Detections], drawn: np.ndarray) -> float:
    """AP by pycocotools, a drawn image as often as it was drawn, each time as an image of its own."""
    images, truth, results = [], [], []
    for place, index in enumerate(drawn, 1):
        images.append({"id": place, "height": 300, "width": 300})
        for row in range(dataset.offsets[index], dataset.offsets[index + 1]):
            box = {"id": len(truth) + 1, "image_id": place, "category_id": int(dataset.labels[row]), "iscrowd": 0}
            truth.append(box | {"bbox": dataset.bboxes_xywh[row].tolist(), "area": float(dataset.areas[row])})
        for box, score, label in zip(*found[int(index)], strict=True):
            xywh = [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]
            results.append({"image_id": place, "category_id": int(label), "bbox": xywh, "score": float(score)})
    coco = COCO()
    categories = [{"id": label, "name": str(label)} for label in range(CLASSES)]
    coco.dataset = {"images": images, "annotations": truth, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


@pytest.mark.slow
def test_it_is_the_bootstrap_by_hand(scene):
    dataset, (good, worse) = scene
    said = paired_bootstrap(dataset, good, worse, resamples=2000, confidence=0.9, seed=1)
    everything = np.arange(IMAGES)
    by_hand = average_precision(dataset, worse, everything) - average_precision(dataset, good, everything)
    assert said.value == pytest.approx(by_hand, abs=1e-6)
    rng = np.random.default_rng(2)
    deltas = []
    for _ in range(60):
        drawn = rng.integers(0, IMAGES, IMAGES)
        deltas.append(average_precision(dataset, worse, drawn) - average_precision(dataset, good, drawn))
    width = np.std(deltas) * 3.29  # of a 90% interval of a normal distribution
    assert said.upper - said.lower == pytest.approx(width, rel=0.35)  # 60 draws know a deviation to about 9%
    assert (said.upper + said.lower) / 2 == pytest.approx(np.mean(deltas), abs=0.25 * width)


def test_the_same_detections_differ_by_nothing(scene):
    dataset, (good, _) = scene
    said = paired_bootstrap(dataset, good, good, resamples=100)
    assert (said.value, said.lower, said.upper) == (0, 0, 0)
    assert said.says(0.0) == "not worse"


def test_the_other_way_round_the_sign_turns(scene):
    dataset, (good, worse) = scene
    there, back = (paired_bootstrap(dataset, *pair, resamples=300) for pair in ((good, worse), (worse, good)))
    assert there.value == pytest.approx(-back.value)
    assert (there.lower, there.upper) == pytest.approx((-back.upper, -back.lower))


@pytest.mark.parametrize(
    ("lower", "upper", "word"),
    [(0.001, 0.02, "better"), (-0.019, 0.03, "not worse"), (-0.03, 0.03, "undecided"), (-0.05, -0.03, "worse")],
)
def test_better_is_said_only_where_noise_cannot_explain_it(lower, upper, word):
    said = Difference("AP", (lower + upper) / 2, lower, upper, 0.95, 1000, 100)
    assert said.says(margin=0.02) == word
