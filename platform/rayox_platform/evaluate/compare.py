"""Is one model better than another on the same images? A paired bootstrap over images of the difference in AP."""

from collections.abc import Mapping
from dataclasses import dataclass

import hotcoco

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset
from rayox_platform.evaluate.metrics import coco_evaluator


@dataclass(frozen=True)
class Difference:
    """How much higher the second model's metric is, and the interval that the true difference lies in."""

    metric: str
    value: float
    lower: float
    upper: float
    confidence: float
    resamples: int
    images: int

    def says(self, margin: float) -> str:
        """better, not worse (by more than the margin), worse, or undecided: noise hides which."""
        if self.lower > 0:
            return "better"
        if self.lower >= -margin:
            return "not worse"
        return "worse" if self.upper < 0 else "undecided"


def paired_bootstrap(
    dataset: CocoDataset,
    before: Mapping[int, Detections],
    after: Mapping[int, Detections],
    *,
    metric: str = "AP",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Draw the images with replacement, the same ones for both models, and take the difference each time.

    metric is AP, AP50 or AP75. The interval is that of percentiles; the same seed gives the same interval.
    """
    first, second = _evaluated(dataset, before), _evaluated(dataset, after)
    said = hotcoco.compare(first, second, n_bootstrap=resamples, seed=seed, confidence=confidence)
    interval = said["ci"][metric]
    return Difference(
        metric=metric,
        value=float(said["deltas"][metric]),
        lower=float(interval["lower"]),
        upper=float(interval["upper"]),
        confidence=confidence,
        resamples=resamples,
        images=len(dataset),
    )


def _evaluated(dataset: CocoDataset, detections: Mapping[int, Detections]) -> hotcoco.COCOeval:
    evaluator = coco_evaluator(dataset, detections)
    evaluator.params.area_rng = [[0.0, 1e10]]  # sizes are not asked for, and cost two thirds of the time
    evaluator.params.area_rng_lbl = ["all"]
    evaluator.evaluate()
    return evaluator
