"""Which images may join a sample in its mosaic and mixup, and how those of a window are decoded once.

P images to choose from, G boxes of one image, H and W its height and width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.letterbox import fit_size
from rayox_model.augment.pixels import load_pixels, reduction
from rayox_model.core.samples import LabelledImages, Sample


class Partners(NamedTuple):
    """The images that may join a sample."""

    images: Sequence[int]
    repeated: bool  # whether one may be drawn twice for a sample


def whole_dataset(images: LabelledImages) -> Partners:
    """Any image, the sample's own too, as published."""
    return Partners(range(len(images)), repeated=True)


def of_window(window: Int64[np.ndarray, "P"], index: int) -> Partners:
    """The images of a window but the sample's own; that if there is no other. Each joins a mosaic once."""
    others = np.unique(window[window != index]).tolist()
    return Partners(others or [index], repeated=False)


def draw_partners(rng: np.random.Generator, partners: Partners, num: int) -> list[int]:
    """Draw images to join a sample; one comes twice where that is allowed, or where there are too few."""
    if partners.repeated or len(partners.images) < num:
        places = rng.integers(len(partners.images), size=num)
    else:
        places = rng.permutation(len(partners.images))[:num]
    return [partners.images[place] for place in places.tolist()]


class DecodedOnce:
    """The images of a window as augmentation takes them, each decoded when it is first asked for, and kept.

    One that no sample can show larger than half its size is decoded reduced: by its own size and the settings alone, so
    its pixels do not depend on which samples are made.
    """

    def __init__(self, images: LabelledImages, settings: Augment, size: tuple[int, int]) -> None:
        self._images = images
        self._size = size
        shearing = 1 + np.tan(np.radians(settings.shear))
        self._largest_scale = max(settings.mosaic_scale[1] * shearing, settings.mixup_scale[1])
        self._decoded: dict[tuple[int, int], UInt8[np.ndarray, "_ _ 3"]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def size(self, index: int) -> tuple[int, int]:
        return self._images.size(index)

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        return self._images.annotations(index)

    def load(self, index: int) -> Sample:
        return Sample(self._at(index, 1), *self.annotations(index))

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        height, width = self.size(index)
        fit = fit_size((height, width), self._size)
        largest = max(fit.height / height, fit.width / width) * self._largest_scale
        return self._at(index, min(factor, reduction(largest)))

    def _at(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        if (index, factor) not in self._decoded:
            self._decoded[index, factor] = load_pixels(self._images, index, 1 / factor).image
        return self._decoded[index, factor]
