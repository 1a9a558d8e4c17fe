"""COCO metrics against hand-worked answers, published evaluators' files, and pycocotools."""

import contextlib
import copy
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset, read_coco
from rayox_platform.evaluate.metrics import coco_metrics, coco_results

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2


def dataset_of(tmp_path: Path, coco: dict) -> CocoDataset:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco))
    return read_coco(path)


def detections_of(dataset: CocoDataset, results: list[dict]) -> dict[int, Detections]:
    """A results file's records by image index, highest score first; float64, so that no box is rounded."""
    index_of = {int(image_id): index for index, image_id in enumerate(dataset.image_ids)}
    label_of = {int(category_id): label for label, category_id in enumerate(dataset.category_ids)}
    by_image: dict[int, list[dict]] = {}
    for result in results:
        by_image.setdefault(index_of[result["image_id"]], []).append(result)
    detections = {}
    for index, found in by_image.items():
        found.sort(key=lambda result: -result["score"])
        boxes = np.array([result["bbox"] for result in found], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([result["score"] for result in found], np.float64)
        labels = np.array([label_of[result["category_id"]] for result in found], np.int64)
        detections[index] = Detections(boxes, scores, labels)
    return detections


def pycocotools_metrics(coco: dict, results: list[dict]) -> list[float | None]:
    """The oracle, None for its −1; annotation ids are numbered from 1, since it counts id 0 as a miss."""
    coco = copy.deepcopy(coco)
    for number, annotation in enumerate(coco["annotations"], start=1):
        annotation["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {"info": {}, **coco}
        ground_truth.createIndex()
        evaluator = COCOeval(ground_truth, ground_truth.loadRes(copy.deepcopy(results)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) if value >= 0 else None for value in evaluator.stats]


def one_image(boxes: list[list[float]], crowds: list[int] | None = None, first_id: int = 1) -> dict:
    crowds = crowds or [0] * len(boxes)
    return {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 400, "width": 400}],
        "annotations": [
            {"id": i, "image_id": 5, "category_id": 3, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
            for i, (box, crowd) in enumerate(zip(boxes, crowds, strict=True), start=first_id)
        ],
        "categories": [{"id": 3, "name": "thing"}, {"id": 8, "name": "unseen"}],
    }


def found(boxes_xyxy: list[list[float]], scores: list[float]) -> dict[int, Detections]:
    boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    return {0: Detections(boxes, np.array(scores, np.float32), np.zeros(len(scores), np.int64))}


def metrics_of(dataset: CocoDataset, detections: dict[int, Detections]) -> dict[str, float]:
    return asdict(coco_metrics(dataset, detections).metrics)


def test_perfect_detections_score_one_and_unseen_areas_minus_one(tmp_path):
    dataset = dataset_of(tmp_path, one_image([[10, 10, 50, 50]]))
    scores = coco_metrics(dataset, found([[10, 10, 60, 60]], [0.9]))
    metrics = asdict(scores.metrics)
    assert [metrics[name] for name in ("AP", "AP_medium", "AR_1")] == pytest.approx([1, 1, 1])
    assert [metrics[name] for name in ("AP_small", "AP_large", "AR_large")] == [None] * 3
    assert scores.class_ap == {"thing": pytest.approx(1), "unseen": None}


def test_names_are_the_documented_ones_in_coco_order(tmp_path):
    names = list(metrics_of(dataset_of(tmp_path, one_image([[10, 10, 50, 50]])), {}))
    assert names[:6] == ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
    assert names[6:] == ["AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"]


def test_a_hand_worked_ap(tmp_path):
    """IoU 0.81 with one box of two: right at the seven thresholds to 0.80, recall 1/2 there: AP = 0.7 · 51/101."""
    dataset = dataset_of(tmp_path, one_image([[0, 0, 100, 100], [200, 200, 100, 100]]))
    metrics = metrics_of(dataset, found([[0, 0, 100, 81]], [0.5]))
    assert metrics["AP50"] == pytest.approx(51 / 101)
    assert metrics["AP"] == pytest.approx(0.7 * 51 / 101)
    assert metrics["AR_1"] == pytest.approx(0.35)


def test_zero_detections_score_zero(tmp_path):
    dataset = dataset_of(tmp_path, one_image([[10, 10, 50, 50]]))
    for nothing in ({}, found([], [])):
        metrics = metrics_of(dataset, nothing)
        assert metrics["AP"] == metrics["AR_100"] == 0
        assert metrics["AP_large"] is None


def test_no_ground_truth_scores_minus_one(tmp_path):
    dataset = dataset_of(tmp_path, one_image([]))
    for detections in ({}, found([[0, 0, 5, 5]], [0.3])):
        assert set(metrics_of(dataset, detections).values()) == {None}


def test_annotation_id_zero_is_found_like_any_other(tmp_path):
    dataset = dataset_of(tmp_path, one_image([[10, 10, 50, 50]], first_id=0))
    assert metrics_of(dataset, found([[10, 10, 60, 60]], [0.9]))["AP"] == pytest.approx(1)


def test_detections_in_a_crowd_are_neither_right_nor_wrong(tmp_path):
    dataset = dataset_of(tmp_path, one_image([[0, 0, 50, 50], [100, 100, 200, 200]], crowds=[0, 1]))
    in_crowd = [[110, 110, 150, 150], [160, 160, 200, 200]]
    metrics = metrics_of(dataset, found([*in_crowd, [0, 0, 50, 50]], [0.9, 0.8, 0.5]))
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["AR_1"] == 0  # though one of them takes the one place


def test_negative_and_huge_ids_do_no_harm(tmp_path):
    coco = one_image([[10, 10, 50, 50]])
    coco["images"][0]["id"] = coco["annotations"][0]["image_id"] = -(2**62)
    coco["categories"][0]["id"] = coco["annotations"][0]["category_id"] = -5
    dataset = dataset_of(tmp_path, coco)
    assert metrics_of(dataset, found([[10, 10, 60, 60]], [0.9]))["AP"] == pytest.approx(1)


def random_case(seed: int) -> tuple[dict, list[dict]]:
    """Images in shuffled order, crowds, ties in score, boxes past the edge and without area, id 0."""
    rng = np.random.default_rng(seed)
    image_ids = rng.permutation(40)[:12].tolist()
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 300, "width": 300} for i in image_ids],
        "annotations": [],
        "categories": [{"id": c, "name": str(c)} for c in (11, 2, 5)],
    }
    results = []
    for number in range(90):
        size = np.exp(rng.uniform(np.log(8), np.log(200), 2)) * (number % 30 != 7)
        bbox = [float(value) for value in (*rng.uniform(-20, 250, 2), *size)]
        common = {"image_id": int(rng.choice(image_ids)), "category_id": int(rng.choice([11, 2, 5]))}
        area, crowd = bbox[2] * bbox[3] * 0.7, int(rng.random() < 0.1)
        coco["annotations"].append({"id": number, "bbox": bbox, "area": area, "iscrowd": crowd, **common})
        for _ in range(rng.integers(0, 4)):
            shifted = (np.array(bbox) + rng.normal(0, 4, 4)).clip(1).tolist()
            results.append({"bbox": shifted, "score": float(rng.integers(1, 20) / 20), **common})
    return coco, results


@pytest.mark.parametrize("seed", range(6))
def test_random_cases_agree_with_pycocotools(seed, tmp_path):
    coco, results = random_case(seed)
    dataset = dataset_of(tmp_path, coco)
    detections = detections_of(dataset, results)
    ours = list(metrics_of(dataset, detections).values())
    assert ours == pytest.approx(pycocotools_metrics(coco, results), abs=1e-12)


def test_results_records_are_the_file_s_ids_and_score_the_same(tmp_path):
    coco, results = random_case(0)
    dataset = dataset_of(tmp_path, coco)
    records = coco_results(dataset, detections_of(dataset, results))
    assert len(records) == len(results)
    assert json.loads(json.dumps(records)) == records
    again = coco_metrics(dataset, detections_of(dataset, records)).metrics  # boxes are rounded to a thousandth
    assert list(asdict(again).values()) == pytest.approx(pycocotools_metrics(coco, results), abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "train"])
def test_the_official_detections_score_the_published_numbers(split, shared_data):
    dataset = read_coco(shared_data / f"coco_dev/annotations/instances_{split}2017.json")
    results = json.loads((shared_data / f"oracle/yolox_nano_coco_dev_{split}_dets.json").read_text())
    expected = json.loads((shared_data / "oracle/expected_ap.json").read_text())["results"][f"coco_dev_{split}"]
    expected.pop("dets")
    in_float64 = detections_of(dataset, results)
    as_detected = {i: Detections(d.boxes.astype(np.float32), d.scores, d.labels) for i, d in in_float64.items()}
    for detections in (in_float64, as_detected):
        assert metrics_of(dataset, detections) == pytest.approx(expected, abs=1e-9)


def test_pycocotools_demo_is_reproduced_to_the_last_digit(shared_data):
    folder = shared_data / "evaluator/val2014_100"
    dataset = read_coco(folder / "instances_val2014_100.json")
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())["bbox"]
    metrics = coco_metrics(dataset, detections_of(dataset, results)).metrics
    assert list(asdict(metrics).values()) == pytest.approx(list(expected.values()), abs=1e-12)


EVALUATOR_FILES = [
    ("gt_dataset.json", "dt_dataset.json"),
    ("gt_ignore_test.json", "dt_ignore_test.json"),
    ("rafaelpadilla/gts/sampled_gts_bbox_area.json", "rafaelpadilla/cocoapi_results.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "results"), EVALUATOR_FILES)
def test_public_evaluators_files_agree_with_pycocotools(truth, results, shared_data):
    folder = shared_data / "evaluator"
    dataset = read_coco(folder / truth)
    records = [
        {key: record[key] for key in ("image_id", "category_id", "bbox", "score")}
        for record in json.loads((folder / results).read_text())
    ]
    ours = list(metrics_of(dataset, detections_of(dataset, records)).values())
    coco = json.loads((folder / truth).read_text())
    for record, key in [(r, "id") for r in coco["images"]] + [(r, "image_id") for r in coco["annotations"]]:
        record[key] = int(record[key])  # one of the files has "2299" here and 2299 there
    expected = pycocotools_metrics(coco, records)
    assert ours == pytest.approx(expected, abs=1e-12)
