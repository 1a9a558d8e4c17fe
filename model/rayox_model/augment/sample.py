"""One training sample from a data set: the order of all augmentation, all randomness from one generator.

H and W are the output's height and width, G the number of boxes.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.color import draw_hsv_shift, shift_hsv
from rayox_model.augment.geometry import flip_boxes
from rayox_model.augment.letterbox import fit_image, pad_image
from rayox_model.augment.mixup import Mixup, draw_mixup, draw_partner, mix
from rayox_model.augment.mosaic import Mosaic, draw_mosaic, make_mosaic, tiles_in_view
from rayox_model.augment.partners import Partners, whole_dataset
from rayox_model.augment.pixels import load_pixels
from rayox_model.core.samples import LabelledImages, Sample


def make_sample(
    images: LabelledImages,
    index: int,
    rng: np.random.Generator,
    settings: Augment,
    size: tuple[int, int],
    strong: bool,
    partners: Partners | None = None,
) -> Sample:
    """Make the training sample of one image: `size` (height, width) pixels, boxes in them, at most max_boxes.

    Strong: mosaic under an affine, then mixup, with partners (by default from the whole data set); else the image
    alone. Both then get shifted colours and a flip. The data set's arrays stay as they are. A sample without boxes of
    more than one pixel a side is neither shifted in colour nor flipped, and keeps the boxes it has that have an area
    (as official, which keeps those without too).
    """
    if strong and rng.random() < settings.mosaic_prob:
        sample = _mosaic_with_mixup(images, index, partners or whole_dataset(images), rng, settings, size)
    else:
        sample = _fitted(images, index, size)
    seen = _sides_over(sample.boxes, 1.0)
    if seen.any():
        sample = _recolor_and_flip(_only(sample, seen), rng, settings)
    else:
        sample = _only(sample, _sides_over(sample.boxes, 0.0))
    return Sample(
        pad_image(sample.image, size), sample.boxes[: settings.max_boxes], sample.labels[: settings.max_boxes]
    )


def shown_images(
    images: LabelledImages,
    index: int,
    rng: np.random.Generator,
    settings: Augment,
    size: tuple[int, int],
    strong: bool,
    partners: Partners | None = None,
) -> list[int]:
    """The images that `make_sample` decodes when it is called the same way, from the annotations alone."""
    if not (strong and rng.random() < settings.mosaic_prob):
        return [index]
    mosaic, mixup = _draw_strong(images, index, partners or whole_dataset(images), rng, settings, size)
    return tiles_in_view(images, mosaic, size) + ([] if mixup is None else [mixup.partner])


def _mosaic_with_mixup(
    images: LabelledImages,
    index: int,
    partners: Partners,
    rng: np.random.Generator,
    settings: Augment,
    size: tuple[int, int],
) -> Sample:
    mosaic, mixup = _draw_strong(images, index, partners, rng, settings, size)
    sample = make_mosaic(images, mosaic, size)
    return sample if mixup is None else mix(sample, images, mixup, size)


def _draw_strong(
    images: LabelledImages,
    index: int,
    partners: Partners,
    rng: np.random.Generator,
    settings: Augment,
    size: tuple[int, int],
) -> tuple[Mosaic, Mixup | None]:
    """All that is random about which images are seen where; a mosaic without boxes is not blended with another."""
    mosaic = draw_mosaic(rng, index, partners, settings, size)
    has_boxes = any(len(images.annotations(tile)[0]) for tile in mosaic.indices)
    if has_boxes and rng.random() < settings.mixup_prob:
        partner = draw_partner(rng, images, partners)
        if partner is not None:
            return mosaic, draw_mixup(rng, partner, settings, size)
    return mosaic, None


def _fitted(images: LabelledImages, index: int, size: tuple[int, int]) -> Sample:
    # Never decoded smaller: without mosaic, training sees what evaluation sees.
    image, ratio = fit_image(load_pixels(images, index).image, size)
    boxes, labels = images.annotations(index)
    return Sample(image, boxes * np.float32(ratio), labels)


def _recolor_and_flip(sample: Sample, rng: np.random.Generator, settings: Augment) -> Sample:
    image, boxes = shift_hsv(sample.image, draw_hsv_shift(rng, settings)), sample.boxes
    if rng.random() < settings.flip_prob:
        image, boxes = cv2.flip(image, 1), flip_boxes(boxes, image.shape[1])
    return Sample(image, boxes, sample.labels)


def _sides_over(boxes: Float32[np.ndarray, "G 4"], length: float) -> Bool[np.ndarray, "G"]:
    longer: np.ndarray = (boxes[:, 2:] - boxes[:, :2] > length).all(axis=1)
    return longer


def _only(sample: Sample, keep: Bool[np.ndarray, "G"]) -> Sample:
    return Sample(sample.image, sample.boxes[keep], sample.labels[keep])
