"""The COCO metrics of detections, computed by hotcoco, and detections as a COCO results file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypedDict

import hotcoco
import numpy as np
from jaxtyping import Float64, Shaped

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset


@dataclass(frozen=True)
class Metrics:
    """The twelve COCO numbers, 0 to 1; None where there is nothing to find (COCO's own code says −1)."""

    AP: float | None  # mean over IoU 0.50 to 0.95
    AP50: float | None
    AP75: float | None
    AP_small: float | None  # area below 32² pixels
    AP_medium: float | None
    AP_large: float | None  # area from 96² pixels
    AR_1: float | None  # recall with one detection an image
    AR_10: float | None
    AR_100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None

    def measured(self) -> dict[str, float]:
        """Those that are there."""
        return measured(asdict(self))


@dataclass(frozen=True)
class CocoScores:
    metrics: Metrics
    class_ap: Mapping[str, float | None]  # AP of each class of the data; None for a class with nothing to find


class CocoResult(TypedDict):
    """One detection as a COCO results file has it."""

    image_id: int
    category_id: int
    bbox: list[float]  # [x, y, width, height]
    score: float


METRICS = tuple(field.name for field in fields(Metrics))


def measured(values: Mapping[str, float | None]) -> dict[str, float]:
    """The COCO metrics among a run's numbers; earlier versions wrote −1 for one that is absent."""
    found = {name: values.get(name) for name in METRICS}
    return {name: value for name, value in found.items() if value is not None and value >= 0}


def coco_metrics(dataset: CocoDataset, detections: Mapping[int, Detections]) -> CocoScores:
    """Score detections (by image index; boxes in the original image's pixels, labels the data set's).

    An image without an entry has no detections; with none at all the metrics are 0. Crowds, and annotations with
    id 0, count as COCO defines them. Only the first 100 detections of an image and class count.
    """
    evaluator = coco_evaluator(dataset, detections)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()
    metrics = Metrics(*(_known(value) for value in evaluator.stats))
    assert evaluator.eval is not None  # accumulate() has filled it
    return CocoScores(metrics, _class_ap(evaluator.eval["precision"], dataset.classes))


def coco_evaluator(dataset: CocoDataset, detections: Mapping[int, Detections]) -> hotcoco.COCOeval:
    """An evaluation of detections that has not begun."""
    ground_truth = _ground_truth(dataset)
    return hotcoco.COCOeval(ground_truth, ground_truth.load_res(_result_rows(dataset, detections)), "bbox")


def matched(dataset: CocoDataset, detections: Mapping[int, Detections], iou: float) -> Shaped[np.ndarray, "D"]:
    """For each detection, image after image by index: "tp", "fp", or "" where it does not count (on a crowd).

    Beyond the best 100 of an image and class none counts.
    """
    evaluator = coco_evaluator(dataset, detections)
    evaluator.params.iou_thrs = [iou]
    evaluator.params.area_rng, evaluator.params.area_rng_lbl = [[0.0, 1e10]], ["all"]
    evaluator.evaluate()
    verdicts = np.full(sum(len(found.scores) for found in detections.values()), "", "<U2")
    for number, verdict in evaluator.image_diagnostics(iou)["dt_status"].items():  # numbered from 1, as they were given
        verdicts[number - 1] = verdict
    return verdicts


def coco_results(dataset: CocoDataset, detections: Mapping[int, Detections]) -> list[CocoResult]:
    """Detections as records of a COCO results file, with the ids of the data set's file."""
    return [
        CocoResult(
            image_id=int(dataset.image_ids[index]),
            category_id=int(dataset.category_ids[label]),
            bbox=[round(float(value), 3) for value in bbox],
            score=round(float(score), 6),
        )
        for index, found in sorted(detections.items())
        for bbox, score, label in zip(_xywh(found), found.scores, found.labels, strict=True)
    ]


def _ranks(dataset: CocoDataset) -> list[int]:
    """Image ids by order only: equal scores are settled in the order of the ids, which themselves may be negative."""
    ranks = np.empty(len(dataset), np.int64)
    ranks[np.argsort(dataset.image_ids)] = np.arange(len(dataset))
    return [int(rank) for rank in ranks]


def _ground_truth(dataset: CocoDataset) -> hotcoco.COCO:
    ranks = _ranks(dataset)
    images = [
        {"id": rank, "file_name": name, "height": int(height), "width": int(width)}
        for rank, name, height, width in zip(ranks, dataset.file_names, dataset.heights, dataset.widths, strict=True)
    ]
    return hotcoco.COCO.from_arrays(
        images=images,
        categories=[{"id": label, "name": name} for label, name in enumerate(dataset.classes)],
        image_ids=np.repeat(np.array(ranks, np.int64), np.diff(dataset.offsets)),
        category_ids=dataset.labels,
        boxes=dataset.bboxes_xywh,
        area=dataset.areas,
        iscrowd=dataset.iscrowd,
    )  # annotation ids are numbered from 1: an id 0 would count as a miss


def _result_rows(dataset: CocoDataset, detections: Mapping[int, Detections]) -> Float64[np.ndarray, "D 7"]:
    """Rows of (image, x, y, width, height, score, label)."""
    ranks = _ranks(dataset)
    rows = [
        np.column_stack([np.full(len(found.scores), ranks[index]), _xywh(found), found.scores, found.labels])
        for index, found in sorted(detections.items())
    ]
    return np.concatenate([np.zeros((0, 7)), *rows]).astype(np.float64)


def _xywh(found: Detections) -> Float64[np.ndarray, "D 4"]:
    boxes = found.boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _class_ap(precision: Float64[np.ndarray, "T R C A M"], classes: Sequence[str]) -> dict[str, float | None]:
    """T IoU thresholds, R recalls, C classes, A areas (the first: all), M limits of detections (the last: 100)."""
    of_class = precision[:, :, :, 0, -1]  # [T, R, C]
    return {
        name: float(np.mean(of_class[:, :, label])) if (of_class[:, :, label] > -1).all() else None
        for label, name in enumerate(classes)
    }


def _known(value: float) -> float | None:
    return float(value) if value >= 0 else None
