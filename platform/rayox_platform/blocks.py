"""The work of the stream's CPU tasks: a block's number in, its augmented samples out.

Nothing here imports torch: a task's process starts in a third of the time and memory without it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import cv2
import numpy as np
import ray

from rayox_model.augment.partners import DecodedOnce, of_window
from rayox_model.augment.sample import make_sample
from rayox_model.augment.settings import Augment
from rayox_model.errors import DataError
from rayox_model.pack import pack
from rayox_model.plan import StreamPlan, sample_rng
from rayox_model.samples import LabelledImages, Sample

Block = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SampleBlocks:
    """Turns one row, the number of a block, into that block's augmented samples; runs in the CPU tasks."""

    images: "ray.ObjectRef[LabelledImages]"
    plan: StreamPlan
    augment: Augment
    size: tuple[int, int]

    def __call__(self, block: Block) -> dict[str, np.ndarray]:
        """An error of the data travels as a block of its own: of an exception Ray hands on no more than its text."""
        cv2.setNumThreads(0)  # one task, one core
        try:
            return self._block(*divmod(int(block["id"][0]), self.plan.lanes))
        except DataError as error:
            return {"error": np.array([error.message]), "hint": np.array([error.hint])}

    def _block(self, window: int, lane: int) -> dict[str, np.ndarray]:
        rows = self.plan.rows(window, lane)
        listed = zip(*map(np.ndarray.tolist, rows), strict=True)
        by_window = groupby(listed, lambda row: self.plan.partner_window(row[0], row[1]))
        samples = [sample for number, part in by_window for sample in self._samples(number, lane, part)]
        first_step = self.plan.steps(window).start
        return pack(samples, self.augment.max_boxes)._asdict() | {
            "epoch": rows.epoch,
            "first_step": np.full(len(samples), first_step),
            "lane": np.full(len(samples), lane),
        }

    def _samples(self, partner_window: int, lane: int, rows: Iterable[tuple[int, int, int]]) -> Iterator[Sample]:
        """The samples of rows (epoch, position, image) that lie in one partner window."""
        images = _images(self.images)
        window = None
        if self.augment.partners == "window":
            images = DecodedOnce(images, self.augment, self.size)
            window = self.plan.partners(partner_window, lane)
        for epoch, position, image in rows:
            yield make_sample(
                images,
                image,
                sample_rng(self.plan.seed, epoch, position),
                self.augment,
                self.size,
                strong=self.plan.strong(epoch),
                partners=None if window is None else of_window(window, image),
            )


@lru_cache(maxsize=4)
def _images(reference: "ray.ObjectRef[LabelledImages]") -> LabelledImages:
    """Once per worker process, not once per block."""
    images: LabelledImages = ray.get(reference)
    return images
