"""Blending another image over a sample, half and half (mixup, arXiv:1710.09412, in the form YOLOX takes it from).

The official code letterboxes the partner, resizes that, pads and crops it; here the same view is one warp of the
partner's own pixels. H and W are the output's height and width, G the number of boxes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.geometry import clip_boxes, compose, flip_boxes, largest_stretch, scale_and_shift, warp_over
from rayox_model.augment.letterbox import FILL, fit_size
from rayox_model.augment.partners import Partners, draw_partners
from rayox_model.augment.pixels import load_pixels
from rayox_model.core.samples import LabelledImages, Sample

PARTNER_TRIES = 64


class Mixup(NamedTuple):
    """All that is random about one mixup."""

    partner: int  # image blended over the sample
    frame: tuple[int, int]  # (height, width) its letterboxed form is resized to
    flip: bool
    shift: tuple[int, int]  # (x, y) in the frame that falls on the output's top left corner


def draw_partner(rng: np.random.Generator, images: LabelledImages, partners: Partners) -> int | None:
    """Draw an image that has a box; None when 64 draws find none, so a data set without boxes never hangs."""
    for index in draw_partners(rng, partners, PARTNER_TRIES):
        if len(images.annotations(index)[0]):
            return index
    return None


def draw_mixup(rng: np.random.Generator, partner: int, settings: Augment, size: tuple[int, int]) -> Mixup:
    """Draw the partner's scale, its flip, and which part of it is shown when it is larger than the output."""
    scale = rng.uniform(*settings.mixup_scale)
    frame = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    flip = bool(rng.random() < 0.5)
    room_x, room_y = (max(frame[1] - size[1], 1), max(frame[0] - size[0], 1))
    return Mixup(partner, frame, flip, (int(rng.integers(room_x)), int(rng.integers(room_y))))


def mix(sample: Sample, images: LabelledImages, mixup: Mixup, size: tuple[int, int]) -> Sample:
    """Blend the partner over a sample of `size`; all boxes of both are kept, the partner's last (as official)."""
    over = _partner_pixels(images, mixup, size)
    boxes, labels = images.annotations(mixup.partner)
    return Sample(
        # The 0.25 turns OpenCV's rounding into the official code's cutting off.
        cv2.addWeighted(sample.image, 0.5, over, 0.5, -0.25),
        np.concatenate([sample.boxes, _map_boxes(boxes, images.size(mixup.partner), mixup, size)]),
        np.concatenate([sample.labels, labels]),
    )


def _partner_pixels(images: LabelledImages, mixup: Mixup, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """The partner as it is seen: grey where its frame has no image, black past the frame."""
    over = np.zeros((*size, 4), np.uint8)
    over[: max(mixup.frame[0] - mixup.shift[1], 0), : max(mixup.frame[1] - mixup.shift[0], 0)] = FILL
    place = _pixel_map(images.size(mixup.partner), mixup, size)
    image, factor = load_pixels(images, mixup.partner, largest_stretch(place))
    whole = scale_and_shift((factor, factor), (0.0, 0.0))
    warp_over(over, cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), compose(place, whole))
    return np.asarray(cv2.cvtColor(over, cv2.COLOR_BGRA2BGR), np.uint8)


def _pixel_map(image_size: tuple[int, int], mixup: Mixup, size: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
    fit = fit_size(image_size, size)
    scale_x = fit.width / image_size[1] * mixup.frame[1] / size[1]
    scale_y = fit.height / image_size[0] * mixup.frame[0] / size[0]
    in_frame = scale_and_shift((scale_x, scale_y), (0.0, 0.0))
    if mixup.flip:
        in_frame = compose(scale_and_shift((-1.0, 1.0), (mixup.frame[1], 0.0)), in_frame)
    return compose(scale_and_shift((1.0, 1.0), (-mixup.shift[0], -mixup.shift[1])), in_frame)


def _map_boxes(
    boxes: Float32[np.ndarray, "G 4"], image_size: tuple[int, int], mixup: Mixup, size: tuple[int, int]
) -> Float32[np.ndarray, "G 4"]:
    ratio = fit_size(image_size, size).ratio
    scale = mixup.frame[1] / size[1], mixup.frame[0] / size[0]
    in_frame = clip_boxes(boxes.astype(np.float64) * ratio * (scale * 2), mixup.frame)
    if mixup.flip:
        in_frame = flip_boxes(in_frame, mixup.frame[1])
    return clip_boxes(in_frame - (mixup.shift * 2), size).astype(np.float32)
