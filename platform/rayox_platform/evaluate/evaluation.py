"""Run a detector over a data set and score what it finds."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8

from rayox_model.augment.letterbox import letterbox
from rayox_model.core.errors import DataError
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import Detector
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.metrics import CocoScores, coco_metrics


@dataclass(frozen=True)
class Evaluation:
    scores: CocoScores
    detections: dict[int, Detections]  # by image index; boxes in the original image's pixels, labels the data set's
    images_per_second: float  # reading and decoding included
    unknown_classes: tuple[str, ...]  # of the data, which the detector has never heard of


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How detections are made for the metrics; boxes of one class that overlap more than nms_threshold are one."""

    score_threshold: float = 0.01
    nms_threshold: float = 0.65
    batch_size: int = 16
    num_threads: int = 2  # that read and decode


def evaluate_detector(
    detector: Detector,
    images: CocoImages,
    settings: EvaluationSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Detect in every image once and compute the COCO metrics; `progress(done, total)` is called after each batch.

    Classes are matched by name. Raises DataError if none matches, and for an image that cannot be read.
    """
    start = time.perf_counter()
    detections = detect_images(detector, images, range(len(images)), settings or EvaluationSettings(), progress)
    seconds = time.perf_counter() - start
    return Evaluation(
        scores=coco_metrics(images.dataset, detections),
        detections=detections,
        images_per_second=len(images) / seconds,
        unknown_classes=tuple(name for name in images.dataset.classes if name not in detector.classes),
    )


def detect_images(
    detector: Detector,
    images: CocoImages,
    indices: Sequence[int],
    settings: EvaluationSettings,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Detections]:
    """Detections of the images at indices, in the original images' pixels and with the data's labels."""
    label_map = match_classes(detector.classes, images.dataset.classes)
    detections: dict[int, Detections] = {}
    for batch in _batches(images, indices, detector.image_size, settings):
        pixels = np.stack([item.pixels for item in batch])
        found = detector.detect(pixels, settings.score_threshold, settings.nms_threshold)
        for item, one in zip(batch, found, strict=True):
            detections[item.index] = relabel(to_image_frame(one, item.ratio), label_map)
        if progress is not None:
            progress(len(detections), len(indices))
    return detections


def highest_score(detector: Detector, images: CocoImages, settings: EvaluationSettings, most: int = 8) -> float:
    """The highest score of any detection in the first images, whatever the threshold."""
    unlimited = replace(settings, score_threshold=0.0)
    found = detect_images(detector, images, range(min(most, len(images))), unlimited)
    return max((float(one.scores.max()) for one in found.values() if len(one.scores)), default=0.0)


def match_classes(detector_classes: Sequence[str], data_classes: Sequence[str]) -> Int64[np.ndarray, "C"]:
    """The data's label for each of the detector's C classes, −1 for one the data does not have.

    Raises DataError, with both lists, if no name is common.
    """
    label_of = {name: label for label, name in enumerate(data_classes)}
    label_map = np.array([label_of.get(name, -1) for name in detector_classes], np.int64)
    if (label_map < 0).all():
        raise DataError(
            f"the detector's classes ({_listed(detector_classes)}) and the data's ({_listed(data_classes)}) "
            "have no name in common",
            "Evaluate on the data the detector was trained for, or rename the categories in the COCO file.",
        )
    return label_map


def to_image_frame(detections: Detections, ratio: float) -> Detections:
    """From network-input pixels to the original image's; not clipped to it, as in the official evaluation."""
    return detections._replace(boxes=(detections.boxes / np.float32(ratio)).astype(np.float32))


def relabel(detections: Detections, label_map: Int64[np.ndarray, "C"]) -> Detections:
    """Translate labels; detections of classes that map to −1 are dropped."""
    labels = label_map[detections.labels]
    keep = labels >= 0
    return Detections(detections.boxes[keep], detections.scores[keep], labels[keep])


@dataclass(frozen=True)
class _Letterboxed:
    index: int
    pixels: UInt8[np.ndarray, "H W 3"]
    ratio: float


def _batches(
    images: CocoImages, indices: Sequence[int], size: tuple[int, int], settings: EvaluationSettings
) -> Iterator[list[_Letterboxed]]:
    """Batches in the order of indices; while one is used the next is decoded, so at most two are in memory."""
    batch_size = settings.batch_size

    def read(index: int) -> _Letterboxed:
        return _Letterboxed(index, *letterbox(images.pixels(index), size))

    def submit(start: int) -> list[Future[_Letterboxed]]:
        return [pool.submit(read, index) for index in indices[start : start + batch_size]]

    with ThreadPoolExecutor(settings.num_threads, thread_name_prefix="decode") as pool:
        coming = submit(0)
        for start in range(batch_size, len(indices) + batch_size, batch_size):
            batch, coming = coming, submit(start)
            yield [item.result() for item in batch]


def _listed(names: Sequence[str], most: int = 8) -> str:
    rest = f", … {len(names)} in all" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
