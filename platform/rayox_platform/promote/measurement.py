"""What the gate measures: both models over the same images, in one job, from files whose digests it took itself."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rayox_model.augment.letterbox import letterbox
from rayox_model.core.errors import DataError
from rayox_model.core.samples import Detections
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.evaluation import EvaluationSettings, evaluate_detector
from rayox_platform.models.bundle import file_digest

LATENCY_IMAGES = 20


@dataclass(frozen=True)
class Measured:
    """One model on the gate's images."""

    sha256: str
    num_bytes: int
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    metrics: Mapping[str, float]  # without those of which the data have nothing to find
    class_ap: Mapping[str, float]
    p95_milliseconds: float  # of one image, letterboxed already
    detections: Mapping[int, Detections]

    def as_json(self) -> dict[str, object]:
        return {
            "sha256": self.sha256,
            "bytes": self.num_bytes,
            "classes": list(self.classes),
            "image_size": list(self.image_size),
            "metrics": dict(self.metrics),
            "class_ap": dict(self.class_ap),
            "p95_milliseconds": round(self.p95_milliseconds, 3),
        }


def measure(
    onnx: Path,
    classes: tuple[str, ...] | None,
    images: CocoImages,
    settings: EvaluationSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Evaluate an ONNX file. Raises ModelError for a file that is not one, DataError when no class is common."""
    detector = load_onnx_detector(onnx, classes=classes)
    evaluation = evaluate_detector(detector, images, settings, progress)
    metrics = evaluation.scores.metrics.measured()
    if "AP" not in metrics:
        raise DataError(
            f"{images.dataset.source}: has no box to find, so nothing can be measured with it",
            "give the gate a data set with boxes: data.val.annotations=FILE",
        )
    times = []
    for index in range(min(LATENCY_IMAGES, len(images))):
        pixels, _ = letterbox(images.pixels(index), detector.image_size)
        start = time.perf_counter()
        detector.detect(pixels[None], settings.score_threshold, settings.nms_threshold)
        times.append(1000 * (time.perf_counter() - start))
    return Measured(
        sha256=file_digest(onnx),
        num_bytes=onnx.stat().st_size,
        classes=detector.classes,
        image_size=detector.image_size,
        metrics=metrics,
        class_ap={name: ap for name, ap in evaluation.scores.class_ap.items() if ap is not None},
        p95_milliseconds=float(np.percentile(times, 95)),
        detections=evaluation.detections,
    )


def device_label() -> str:
    """The processor that times were taken on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
