"""Training goes on past broken images: by one rule, the same in every worker, and never unseen.

The rule: where a sample would show a broken image, the sample is drawn again, from the same random numbers, with the
next readable image of the data set (in its order, after the last the first) in the broken one's place: its pixels, its
size and its boxes. So a sample follows from the data, the seed and its own number alone, not from what a worker met
before. A broken image that a mosaic has but does not show changes nothing.

G boxes, H and W an image's height and width.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rayox_model.core.errors import DataError
from rayox_model.core.samples import LabelledImages, Sample

T = TypeVar("T")


class BrokenImage(DataError):
    """An image's bytes are there, but no whole image, or not the annotated one: it will be so the next time too."""


@dataclass(frozen=True, order=True)
class Replacement:
    """A broken image, what stands in its place in every sample that would show it, and why."""

    index: int
    by: int
    why: str  # begins with the image's path


class Quarantine:
    """What one process knows of a data set's broken images; it learns by meeting them."""

    def __init__(self, images: LabelledImages) -> None:
        self._images = images
        self._readable: dict[int, bool] = {}  # of images that were tried as replacements
        self.replacements: dict[int, Replacement] = {}

    def sample(self, images: LabelledImages, make: Callable[[LabelledImages], Sample]) -> Sample:
        """Make a sample, again for each broken image it meets. Raises DataError if no image at all is readable.

        `make` draws its random numbers from a new generator at each call; `images` are this quarantine's, or decode
        for it. What an image is replaced by is in `replacements`.
        """
        replaced: dict[int, int] = {}
        while True:
            try:
                return make(_Replacing(images, replaced, self.replacements))
            except _Met as met:
                replaced[met.index] = self._replace(met.index, met.why).by

    def _replace(self, index: int, why: str) -> Replacement:
        if index not in self.replacements:
            self.replacements[index] = Replacement(index, self._next_readable(index, why), why)
        return self.replacements[index]

    def _next_readable(self, index: int, why: str) -> int:
        num_images = len(self._images)
        for step in range(1, num_images):
            candidate = (index + step) % num_images
            if candidate not in self._readable:
                self._readable[candidate] = self._is_readable(candidate)
            if self._readable[candidate]:
                return candidate
        raise DataError(f"none of the {num_images} images is readable; one of them: {why}", "Check the images' folder.")

    def _is_readable(self, index: int) -> bool:
        try:
            self._images.load(index)
        except BrokenImage:
            return False
        return True


def check_broken(found: Collection[Replacement], num_images: int, most: int | float) -> None:
    """Raise DataError, with the first of them, when more images are broken than may be.

    `most` is their number from 1 on, and a share of the data set below; 0 allows none.
    """
    allowed = int(most) if most >= 1 else int(most * num_images)
    indices = {replacement.index for replacement in found}
    if len(indices) > allowed:
        first = sorted(found)[:3]
        listed = "\n".join(f"  {replacement.why}" for replacement in first)
        raise DataError(
            f"{len(indices)} of {num_images} images are broken, more than the {allowed} allowed:\n{listed}"
            + ("\n  …" if len(indices) > len(first) else ""),
            "Copy them again or take them out of the annotations; `rayox data check` lists all.",
        )


class _Met(Exception):
    """A sample would show a broken image."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index, self.why = index, why


class _Replacing:
    """A data set as one sample sees it: with the images replaced that it has met broken, and no others."""

    def __init__(self, images: LabelledImages, replaced: Mapping[int, int], known: Mapping[int, Replacement]) -> None:
        self._images, self._replaced, self._known = images, replaced, known

    def __len__(self) -> int:
        return len(self._images)

    def size(self, index: int) -> tuple[int, int]:
        return self._images.size(self._replaced.get(index, index))

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        return self._images.annotations(self._replaced.get(index, index))

    def load(self, index: int) -> Sample:
        return self._met(index, self._images.load)

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        """Reduced as the images do it, or whole, which is allowed, if they cannot."""
        reduced = getattr(self._images, "load_reduced", None)
        if reduced is None:
            return self.load(index).image
        return self._met(index, lambda shown: reduced(shown, factor))

    def _met(self, index: int, load: Callable[[int], T]) -> T:
        if index not in self._replaced and index in self._known:
            raise _Met(index, self._known[index].why)  # without trying it again
        try:
            return load(self._replaced.get(index, index))
        except BrokenImage as error:
            raise _Met(index, error.message) from None
