"""The samples of one block of the training stream, as a data task makes them."""

import ctypes
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from rayox_model.augment.partners import DecodedOnce, of_window
from rayox_model.augment.sample import make_sample
from rayox_model.augment.settings import Augment
from rayox_model.core.plan import StreamPlan, sample_rng
from rayox_model.core.quarantine import Quarantine
from rayox_model.core.samples import LabelledImages, Sample

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

Row = tuple[int, int, int]  # epoch, position, image


def block_samples(
    images: LabelledImages,
    plan: StreamPlan,
    window: int,
    lane: int,
    settings: Augment,
    size: tuple[int, int],
    quarantine: Quarantine | None = None,
) -> Iterator[Sample]:
    """Make the samples of `plan.rows(window, lane)`, of `size` (height, width).

    With partners of a window, each image is decoded once while the rows stay in that window: a block that has a part of
    it may decode the images of the rest too, but no more than one window's are ever held. Broken images are replaced
    by the quarantine, which is of these images and, given from block to block, keeps what it learns.
    """
    quarantine = quarantine or Quarantine(images)
    rows: Iterator[Row] = zip(*map(np.ndarray.tolist, plan.rows(window, lane)), strict=True)
    if settings.partners == "dataset":
        for row in rows:
            yield row_sample(images, quarantine, plan, row, settings, size, window=None)
        return
    for number, part in groupby(rows, lambda row: plan.partner_window(row[0], row[1])):
        decoded, partners = DecodedOnce(images, settings, size), plan.partners(number, lane)
        for row in part:
            yield row_sample(decoded, quarantine, plan, row, settings, size, partners)


def row_sample(
    images: LabelledImages,
    quarantine: Quarantine,
    plan: StreamPlan,
    row: Row,
    settings: Augment,
    size: tuple[int, int],
    window: np.ndarray | None,
) -> Sample:
    """The sample of one row of the plan; window are the images of its partner window, if partners come from there."""
    epoch, position, image = row
    partners = None if window is None else of_window(window, image)

    def make(shown: LabelledImages) -> Sample:
        rng = sample_rng(plan.seed, epoch, position)
        return make_sample(shown, image, rng, settings, size, plan.strong(epoch), partners)

    return quarantine.sample(images, make)


def keep_freed_memory() -> None:
    """Let the process use an image's freed memory for the next one; up to 256 MB stay with it.

    By default glibc hands every freed array of this size back to the kernel and gets it zeroed page by page again, a
    tenth of the time of a sample. Where the C library is another, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 256 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)
