"""Which detections hit, image by image: AP over any drawn set of images then takes no more matching.

N detections of a class over all images, the highest score first; T IoU thresholds; M images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset
from rayox_platform.evaluate.metrics import coco_evaluator

RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's
IOU_THRESHOLDS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}  # rows of T = 10, from 0.5 by 0.05


@dataclass(frozen=True)
class ClassMatches:
    image: Int64[np.ndarray, "N"]
    hit: Bool[np.ndarray, "T N"]
    counts: Bool[np.ndarray, "T N"]  # not on a crowd
    wanted: Int64[np.ndarray, "M"]  # boxes there are to be found in each image


Matches = Sequence[ClassMatches]  # by class


def match(dataset: CocoDataset, detections: Mapping[int, Detections]) -> Matches:
    """The matches of all images, by COCO's rules; detections are by image index."""
    evaluator = coco_evaluator(dataset, detections)
    evaluator.params.area_rng = [[0.0, 1e10]]
    evaluator.params.area_rng_lbl = ["all"]
    evaluator.evaluate()
    of_class: list[list[tuple[int, Mapping[str, Sequence[object]]]]] = [[] for _ in dataset.classes]
    for found in evaluator.eval_imgs:
        if found is not None:
            of_class[found["category_id"]].append((found["image_id"], found))
    return [_joined(found, len(dataset)) for found in of_class]


def average_precision(
    matches: Matches, weights: Int64[np.ndarray, "M"] | Float64[np.ndarray, "M"] | None = None, metric: str = "AP"
) -> float:
    """AP where each image counts as often as its weight says, 1 by default; −1 where nothing is to be found.

    metric is one of IOU_THRESHOLDS.
    """
    rows = IOU_THRESHOLDS[metric]
    found = [_of_class(one, np.ones(len(one.wanted)) if weights is None else weights, rows) for one in matches]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else -1.0


def _joined(found: Sequence[tuple[int, Mapping[str, Sequence[object]]]], num_images: int) -> ClassMatches:
    scores = np.array([score for _, one in found for score in one["dtScores"]], np.float64)
    image = np.array([at for at, one in found for _ in one["dtScores"]], np.int64)
    hits = [np.array(one["dtMatched"], bool).reshape(10, -1) for _, one in found]
    ignored = [np.array(one["dtIgnore"], bool).reshape(10, -1) for _, one in found]
    wanted = np.zeros(num_images, np.int64)
    for at, one in found:
        wanted[at] = sum(map(bool, one["gtInDenominator"]))
    order = np.argsort(-scores, kind="mergesort")
    empty = np.zeros((10, 0), bool)
    return ClassMatches(
        image[order],
        np.concatenate([empty, *hits], axis=1)[:, order],
        ~np.concatenate([empty, *ignored], axis=1)[:, order],
        wanted,
    )


def _of_class(
    one: ClassMatches, weights: Int64[np.ndarray, "M"] | Float64[np.ndarray, "M"], rows: slice
) -> float | None:
    total = float((one.wanted * weights).sum())
    if not total:
        return None
    weight = weights[one.image] * one.counts[rows]  # [T, N]
    hits = np.cumsum(weight * one.hit[rows], axis=1)
    precision = hits / np.maximum(np.cumsum(weight, axis=1), 1e-12)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    sums = [_at_recalls(hits[row] / total, precision[row]) for row in range(len(hits))]
    return float(np.mean(sums))


def _at_recalls(recall: Float64[np.ndarray, "N"], precision: Float64[np.ndarray, "N"]) -> float:
    places = np.searchsorted(recall, RECALLS - 1e-12, side="left")
    return float(precision[places[places < len(recall)]].sum()) / len(RECALLS)
