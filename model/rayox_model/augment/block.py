"""The samples of one block of the training stream, as a data task makes them."""

import ctypes
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, repeat
from typing import NamedTuple

import numpy as np

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.partners import DecodedOnce, of_window
from rayox_model.augment.sample import make_sample, shown_images
from rayox_model.core.plan import StreamPlan, sample_rng
from rayox_model.core.quarantine import Quarantine
from rayox_model.core.samples import LabelledImages, ReadTogether, Sample

READ_TOGETHER = 16  # samples, with up to five images each
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
    parts = _parts(rows, plan, lane, settings)
    needed = (_shown_in(images, plan, part, settings, size) for part in parts)
    held = read_ahead(images, needed) if isinstance(images, ReadTogether) else repeat(images)
    for part, read in zip(parts, held, strict=False):
        shown = read if part.partners is None else DecodedOnce(read, settings, size)
        for row in part.rows:
            yield row_sample(shown, quarantine, plan, row, settings, size, part.partners)


class Part(NamedTuple):
    """Rows whose images are read together."""

    rows: list[Row]
    partners: np.ndarray | None  # the images of their partner window, if partners come from there


def _parts(rows: Iterator[Row], plan: StreamPlan, lane: int, settings: Augment) -> list[Part]:
    if settings.partners == "dataset":
        each = list(rows)
        return [Part(each[start : start + READ_TOGETHER], None) for start in range(0, len(each), READ_TOGETHER)]
    windows = groupby(rows, lambda row: plan.partner_window(row[0], row[1]))
    return [Part(list(part), plan.partners(number, lane)) for number, part in windows]


def _shown_in(
    images: LabelledImages, plan: StreamPlan, part: Part, settings: Augment, size: tuple[int, int]
) -> set[int]:
    """The images that its samples show, as long as none is broken."""
    found: set[int] = set()
    for epoch, position, image in part.rows:
        partners = None if part.partners is None else of_window(part.partners, image)
        rng = sample_rng(plan.seed, epoch, position)
        found.update(shown_images(images, image, rng, settings, size, plan.strong(epoch), partners))
    return found


def read_ahead(images: ReadTogether, needed: Iterable[Collection[int]]) -> Iterator[LabelledImages]:
    """For each part of a block the images with the bytes of those it needs, read while the part before it is made."""
    coming: Future[LabelledImages] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        for indices in needed:
            next_part = pool.submit(images.holding, indices)
            if coming is not None:
                yield coming.result()
            coming = next_part
        if coming is not None:
            yield coming.result()


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
