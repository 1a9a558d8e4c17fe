"""Operating thresholds: from which score on a detection is shown, one for each class and one for all together.

Nobody finds the right threshold by hand: it is chosen on validation images, where precision and recall are known.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from rayox_model.checkpoint.snapshot import read_facts
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import Detector
from rayox_platform.data.coco import CocoDataset
from rayox_platform.evaluate.metrics import matched

IOU = 0.5  # of a detection and the object it has found
FEWEST_BOXES = 10  # of a class; one with fewer has the threshold of all


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what it gave on the images it was chosen on."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Operating:
    """The thresholds of a model."""

    overall: OperatingPoint
    classes: Mapping[str, OperatingPoint]
    rule: str  # F1, or a wanted precision

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def of(self, classes: Sequence[str]) -> Float32[np.ndarray, "C"]:
        """A threshold for each of these classes."""
        points = [self.classes.get(name, self.overall) for name in classes]
        return np.array([point.threshold for point in points], np.float32)


def read_operating(path: Path) -> Operating | None:
    """The thresholds of a checkpoint's folder, or those beside a registered model's file; None where there are none."""
    try:
        if path.is_dir():
            said = read_facts(path).operating
        else:
            said = json.loads(path.with_name("detector.json").read_text(encoding="utf-8"))["operating"]
        points = {name: OperatingPoint(**point) for name, point in said["classes"].items()}
        return Operating(OperatingPoint(**said["overall"]), points, said["rule"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def choose_thresholds(
    dataset: CocoDataset, detections: Mapping[int, Detections], precision: float | None = None
) -> Operating:
    """Thresholds of the highest F1, or the lowest ones that reach a precision (the highest reached, if none does)."""
    in_order = [found for _, found in sorted(detections.items())]
    scores = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in in_order)])
    labels = np.concatenate([np.zeros(0, np.int64), *(found.labels for found in in_order)])
    verdicts = matched(dataset, detections, IOU)
    hit, counts = (verdicts == "tp"), (verdicts != "")
    boxes = np.bincount(dataset.labels[~dataset.iscrowd], minlength=len(dataset.classes))
    classes = {
        name: _choose(scores[mine], hit[mine], int(boxes[label]), precision)
        for label, name in enumerate(dataset.classes)
        if boxes[label] >= FEWEST_BOXES and (mine := counts & (labels == label)).any()
    }
    overall = _choose(scores[counts], hit[counts], int(boxes.sum()), precision)
    return Operating(overall, classes, "F1" if precision is None else f"precision {precision:g}")


def _choose(
    scores: Float32[np.ndarray, "D"], hit: Bool[np.ndarray, "D"], boxes: int, precision: float | None
) -> OperatingPoint:
    """Halfway between the last score that is shown and the next, so that scores alike to the last fall on its side."""
    if not hit.any():
        return OperatingPoint(0.5, 0.0, 0.0)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(hit[order])
    shown = np.arange(1, len(scores) + 1)
    precisions, recalls = hits / shown, hits / max(boxes, 1)
    last_of_equals = np.append(scores[1:] < scores[:-1], True)
    if precision is None:
        quality = 2 * hits / (shown + boxes)
    else:
        quality = np.where(precisions >= precision, 1 + recalls, precisions)
    best = int(np.argmax(np.where(last_of_equals, quality, -1)))
    below = float(scores[best + 1]) if best + 1 < len(scores) else 0.0
    threshold = min(round((float(scores[best]) + below) / 2, 4), float(scores[best]))
    return OperatingPoint(threshold, round(float(precisions[best]), 4), round(float(recalls[best]), 4))


def match_detections(
    dataset: CocoDataset, index: int, found: Detections
) -> tuple[Bool[np.ndarray, "D"], Bool[np.ndarray, "D"]]:
    """Which detections have found an object, each once, the best score first; and which count: not those on crowds."""
    rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
    xywh, labels, crowd = dataset.bboxes_xywh[rows], dataset.labels[rows], dataset.iscrowd[rows]
    truth = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    hit, counts = np.zeros(len(found.scores), bool), np.ones(len(found.scores), bool)
    free = ~crowd
    for at in np.argsort(-found.scores, kind="stable"):
        overlap = _overlap(found.boxes[at].astype(np.float64), truth, crowd)
        overlap[labels != found.labels[at]] = 0
        mine = np.where(free, overlap, 0)
        if len(mine) and mine.max() >= IOU:
            hit[at] = True
            free[int(mine.argmax())] = False
        elif (overlap[crowd] >= IOU).any():
            counts[at] = False
    return hit, counts


def _overlap(box: np.ndarray, others: np.ndarray, crowd: Bool[np.ndarray, "G"]) -> np.ndarray:
    """IoU of a box with others; with a crowd, the share of the box that lies in it."""
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    shared = sides[:, 0] * sides[:, 1]
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return np.asarray(shared / np.maximum(np.where(crowd, area, area + areas - shared), 1e-9))


class OperatingDetector:
    """A detector that shows what its operating thresholds let through; a higher score threshold narrows it further."""

    def __init__(self, detector: Detector, operating: Operating) -> None:
        self._detector = detector
        self._thresholds = operating.of(detector.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._detector.classes

    @property
    def image_size(self) -> tuple[int, int]:
        return self._detector.image_size

    def detect(
        self, images: UInt8[np.ndarray, "B H W 3"], score_threshold: float, nms_threshold: float
    ) -> list[Detections]:
        least = max(score_threshold, float(self._thresholds.min()))
        found = self._detector.detect(images, least, nms_threshold)
        return [self._shown(one) for one in found]

    def _shown(self, found: Detections) -> Detections:
        """Left out afterwards is as left out before: a box is only ever suppressed by a better one of its class."""
        keep = found.scores >= self._thresholds[found.labels]
        return Detections(found.boxes[keep], found.scores[keep], found.labels[keep])
