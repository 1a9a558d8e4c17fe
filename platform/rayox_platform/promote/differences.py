"""The images in which candidate and champion differ most, drawn side by side."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from rayox_model.augment.letterbox import fit_image
from rayox_model.core.samples import Detections
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.draw import draw_detections
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.operating import match_detections

SIDE = 480  # pixels of a picture on the page


@dataclass(frozen=True)
class Pair:
    """One image with what both models see in it."""

    where: str
    champion: str  # pictures as data addresses
    candidate: str
    champion_errors: int  # objects that were missed and boxes on nothing
    candidate_errors: int


def most_different(
    images: CocoImages,
    champion: Mapping[int, Detections],
    candidate: Mapping[int, Detections],
    threshold: float,
    most: int = 6,
) -> list[Pair]:
    """By how many more errors the one makes than the other, from a score threshold on; images without one left out."""
    before = {index: _shown(found, threshold) for index, found in champion.items()}
    after = {index: _shown(found, threshold) for index, found in candidate.items()}
    errors = {
        index: (num_errors(images.dataset, index, before[index]), num_errors(images.dataset, index, after[index]))
        for index in range(len(images))
    }
    order = sorted(errors, key=lambda index: (-abs(errors[index][0] - errors[index][1]), index))
    chosen = [index for index in order if errors[index][0] != errors[index][1]][:most]
    return [
        Pair(
            images.where(index),
            _picture(images, index, before[index]),
            _picture(images, index, after[index]),
            *errors[index],
        )
        for index in chosen
    ]


def num_errors(dataset: CocoDataset, index: int, found: Detections) -> int:
    """Objects of an image that were missed, and boxes on nothing."""
    hit, counts = match_detections(dataset, index, found)
    rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
    return int((~dataset.iscrowd[rows]).sum() - hit.sum() + (counts & ~hit).sum())


def _shown(found: Detections, threshold: float) -> Detections:
    keep = found.scores >= threshold
    return Detections(*(np.asarray(part[keep]) for part in found))


def _picture(images: CocoImages, index: int, found: Detections) -> str:
    return _as_address(draw_detections(*_fitted(images.pixels(index), found), images.dataset.classes))


def _fitted(pixels: UInt8[np.ndarray, "H W 3"], found: Detections) -> tuple[UInt8[np.ndarray, "h w 3"], Detections]:
    """Drawn on at the size of the page, so that lines and letters are."""
    if max(pixels.shape[:2]) <= SIDE:
        return pixels, found
    small, ratio = fit_image(pixels, (SIDE, SIDE))
    return small, found._replace(boxes=(found.boxes * np.float32(ratio)).astype(np.float32))


def _as_address(pixels: UInt8[np.ndarray, "H W 3"]) -> str:
    encoded, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert encoded, pixels.shape
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
