"""Run a detector over image files: a COCO results file, and every image with its boxes drawn."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from rayox_model.augment.letterbox import fit_image, letterbox
from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import Detector
from rayox_platform.data.draw import draw_detections
from rayox_platform.data.images import read_image
from rayox_platform.evaluate.evaluation import EvaluationSettings, to_image_frame
from rayox_platform.evaluate.results import json_list, result_records
from rayox_platform.evaluate.sources import InputImage

RESULTS = "results.json"
DRAWINGS = "images"
_KEPT_BYTES = 48 * 2**20  # an image above (16 megapixels) is not kept until it is drawn on, but decoded again
_JPEG_SIDE = 65_500  # pixels; libjpeg's limit


@dataclass(frozen=True)
class Failure:
    """An image that was skipped."""

    name: str
    message: str  # names the path


@dataclass(frozen=True)
class Found:
    """An image and what is in it; boxes in its own pixels, labels the detector's."""

    image: InputImage
    pixels: UInt8[np.ndarray, "H W 3"] | None  # None for one too large to keep
    detections: Detections


@dataclass(frozen=True)
class Prediction:
    """What a run of the detector left."""

    num_images: int  # without the skipped ones
    num_detections: int
    results: Path
    failures: tuple[Failure, ...]
    images_per_second: float  # reading, drawing and writing included


def predict_images(
    detector: Detector,
    images: Sequence[InputImage],
    folder: Path,
    settings: EvaluationSettings,
    progress: Callable[[int, int], None],
    skipped: Callable[[Failure], None],
) -> Prediction:
    """Write the drawn images and, once all are done, the results file; both take the place of an earlier run's.

    An image that cannot be read is skipped and told to `skipped`; `progress(done, total)` is called after each batch.
    Raises DataError for the only image, ConfigError for a folder that cannot be written.
    """
    if len(images) == 1:
        read_image(images[0].path)
    start = time.perf_counter()
    failures: list[Failure] = []
    done = 0
    with (
        _writing_to(folder),
        json_list(folder / RESULTS) as results,
        ThreadPoolExecutor(settings.num_threads, thread_name_prefix="image") as pool,
    ):
        for found, failed in _detect(detector, images, settings, pool):
            list(pool.map(partial(_draw, detector.classes, folder / DRAWINGS), found))
            for one in found:
                results.extend(result_records(one.image.image_id, one.image.name, one.detections, detector.classes))
            for failure in failed:
                skipped(failure)
            failures += failed
            done += len(found) + len(failed)
            progress(done, len(images))
    return Prediction(
        num_images=len(images) - len(failures),
        num_detections=results.length,
        results=folder / RESULTS,
        failures=tuple(failures),
        images_per_second=len(images) / (time.perf_counter() - start),
    )


@dataclass(frozen=True)
class _Opened:
    image: InputImage
    letterboxed: UInt8[np.ndarray, "h w 3"]
    ratio: float
    pixels: UInt8[np.ndarray, "H W 3"] | None


def _detect(
    detector: Detector, images: Sequence[InputImage], settings: EvaluationSettings, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[Found], list[Failure]]]:
    """Batch by batch, in order; while one is used the next is read, so at most two are in memory."""
    batch_size = settings.batch_size

    def submit(start: int) -> list[Future[_Opened | Failure]]:
        return [pool.submit(_open, image, detector.image_size) for image in images[start : start + batch_size]]

    coming = submit(0)
    for start in range(batch_size, len(images) + batch_size, batch_size):
        batch, coming = [item.result() for item in coming], submit(start)
        opened = [item for item in batch if isinstance(item, _Opened)]
        yield _detect_batch(detector, opened, settings), [item for item in batch if isinstance(item, Failure)]


def _detect_batch(detector: Detector, batch: Sequence[_Opened], settings: EvaluationSettings) -> list[Found]:
    if not batch:
        return []
    pixels = np.stack([item.letterboxed for item in batch])
    detections = detector.detect(pixels, settings.score_threshold, settings.nms_threshold)
    return [
        Found(item.image, item.pixels, to_image_frame(one, item.ratio))
        for item, one in zip(batch, detections, strict=True)
    ]


def _open(image: InputImage, size: tuple[int, int]) -> _Opened | Failure:
    try:
        pixels = read_image(image.path)
    except DataError as error:
        return Failure(image.name, error.message)
    letterboxed, ratio = letterbox(pixels, size)
    return _Opened(image, letterboxed, ratio, pixels if pixels.nbytes <= _KEPT_BYTES else None)


def _draw(classes: Sequence[str], folder: Path, found: Found) -> None:
    pixels = read_image(found.image.path) if found.pixels is None else found.pixels
    drawn = draw_detections(pixels, found.detections, classes)
    if max(drawn.shape[:2]) > _JPEG_SIDE:
        drawn, _ = fit_image(drawn, (_JPEG_SIDE, _JPEG_SIDE))
    path = folder / found.image.drawing
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert encoded, drawn.shape
    path.write_bytes(content.tobytes())


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Make the folder; whatever the file system refuses from here on comes out as a ConfigError."""
    try:
        (folder / DRAWINGS).mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        where = error.filename or folder
        raise ConfigError(f"-o: {where} cannot be written ({error.strerror})", "name another folder") from error
