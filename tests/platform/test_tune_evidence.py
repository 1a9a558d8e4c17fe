"""AP over drawn images is COCO's AP of those images; a lead is called one only where luck cannot explain it."""

import json

import numpy as np
import pytest

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset, parse_coco
from rayox_platform.evaluate.matches import average_precision, match
from rayox_platform.evaluate.metrics import coco_metrics
from rayox_platform.tune.evidence import weigh
from rayox_platform.tune.split import part_of, parted

IMAGES, CLASSES = 30, 3


def scene(drawn: np.ndarray | None = None) -> CocoDataset:
    """Boxes at random, some of them crowds; drawn has the images it is made of, as often as they stand there."""
    coco: dict[str, list] = {"images": [], "annotations": []}
    coco["categories"] = [{"id": 3 * label + 1, "name": f"c{label}"} for label in range(CLASSES)]
    for place, index in enumerate(range(IMAGES) if drawn is None else drawn):
        rng = np.random.default_rng(int(index))
        coco["images"].append({"id": place + 1, "file_name": f"{place}.png", "height": 300, "width": 300})
        for _ in range(int(rng.integers(0, 5))):
            box = [*map(float, rng.uniform(0, 200, 2)), 60.0, 60.0]
            kind = {"category_id": 3 * int(rng.integers(0, CLASSES)) + 1, "iscrowd": int(rng.uniform() < 0.1)}
            number = len(coco["annotations"]) + 1
            coco["annotations"].append({"id": number, "image_id": place + 1, "bbox": box, "area": 3600.0} | kind)
    return parse_coco(json.dumps(coco).encode(), "scene.json")


def detected(dataset: CocoDataset, error: float, seed: int) -> dict[int, Detections]:
    """The boxes shifted by so many pixels, some lost, and false ones among them."""
    found = {}
    for index in range(len(dataset)):
        rng = np.random.default_rng([seed, index])
        rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
        corners = dataset.bboxes_xywh[rows][:, :2]
        kept = rng.uniform(size=len(corners)) > 0.2
        corners = np.concatenate(
            [corners[kept] + rng.normal(0, error, (int(kept.sum()), 2)), rng.uniform(0, 200, (2, 2))]
        )
        labels = np.concatenate([dataset.labels[rows][kept], rng.integers(0, CLASSES, 2)])
        scores = np.concatenate([rng.uniform(0.3, 1, int(kept.sum())), rng.uniform(0, 0.7, 2)]).astype(np.float32)
        boxes = np.concatenate([corners, corners + 60], axis=1).astype(np.float32)
        found[index] = Detections(boxes, scores, labels)
    return found


def test_average_precision_is_cocos():
    dataset = scene()
    for error in (2.0, 8.0, 200.0):
        detections = detected(dataset, error, 0)
        expected = coco_metrics(dataset, detections).metrics.AP
        assert average_precision(match(dataset, detections)) == pytest.approx(expected, abs=1e-9)
    assert average_precision(match(dataset, {})) == 0.0


def test_a_drawn_image_counts_as_often_as_it_was_drawn():
    dataset = scene()
    detections = detected(dataset, 5.0, 0)
    matches = match(dataset, detections)
    rng = np.random.default_rng(1)
    for _ in range(5):
        drawn = rng.integers(0, IMAGES, IMAGES)
        again = {place: detections[int(index)] for place, index in enumerate(drawn)}
        expected = coco_metrics(scene(drawn), again).metrics.AP
        weights = np.bincount(drawn, minlength=IMAGES)
        assert average_precision(matches, weights) == pytest.approx(expected, abs=2e-3), "equal scores apart"


def runs(error: float, first_seed: int = 0):
    dataset = scene()
    return [match(dataset, detected(dataset, error, seed)) for seed in range(first_seed, first_seed + 3)]


@pytest.mark.slow
def test_a_clear_lead_is_one_and_a_small_one_is_not():
    clear = weigh(runs(8.0), {4: runs(3.0, 10), 7: runs(8.2, 20)}, samples=200, confidence=0.95)
    assert clear.winner is not None
    assert clear.winner.trial == 4
    assert "trial 4 beats the base recipe beyond noise: AP 0." in clear.sentence()
    assert [one.trial for one in clear.compared] == [4, 7]
    small = weigh(runs(8.0), {7: runs(8.0, 20)}, samples=200, confidence=0.95)
    assert small.winner is None
    assert "nothing to gain: the best trial does not beat the base recipe beyond noise; trial 7 has" in small.sentence()
    assert "over 30 images that the search never scored and 3 fresh seeds" in small.sentence()
    assert small.as_json()["winner"] is None


@pytest.mark.slow
def test_the_same_trainings_differ_by_nothing():
    same = weigh(runs(8.0), {1: runs(8.0)}, samples=100, confidence=0.95)
    assert (same.compared[0].difference, same.compared[0].lower, same.compared[0].upper) == (0, 0, 0)


@pytest.mark.slow
def test_of_equals_a_winner_is_called_seldom():
    """Three trials that are as the base recipe is: in one of twenty comparisons, chance apart."""
    called = 0
    for round_ in range(8):
        first = 1000 * round_
        trials = {number: runs(8.0, first + 100 * number) for number in (1, 2, 3)}
        called += weigh(runs(8.0, first + 1), trials, samples=40, confidence=0.95, seed=round_).winner is not None
    assert called <= 2


def test_the_search_never_scores_what_confirms():
    dataset = scene()
    search, confirm = parted(dataset, 0.4)
    assert not set(search) & set(confirm)
    assert (len(search), len(confirm)) == (18, 12)
    assert parted(dataset, 0.4) == (search, confirm)
    part = parse_coco(json.dumps(part_of(dataset, confirm)).encode(), "part.json")
    assert part.classes == dataset.classes
    assert [part.file_names[place] for place in range(12)] == [dataset.file_names[index] for index in confirm]
    detections = detected(dataset, 5.0, 0)
    weights = np.zeros(IMAGES)
    weights[confirm] = 1
    of_part = {place: detections[index] for place, index in enumerate(confirm)}
    assert average_precision(match(part, of_part)) == pytest.approx(
        average_precision(match(dataset, detections), weights), abs=1e-9
    )
