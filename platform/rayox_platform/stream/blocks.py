"""The work of the stream's CPU tasks: a block's number in, its augmented samples out.

Nothing here imports torch: a task's process starts in a third of the time and memory without it.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import cv2
import numpy as np
import ray

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import block_samples, keep_freed_memory
from rayox_model.core.errors import DataError
from rayox_model.core.pack import pack
from rayox_model.core.plan import StreamPlan
from rayox_model.core.quarantine import BrokenImage, Quarantine, Replacement
from rayox_model.core.samples import LabelledImages

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
        keep_freed_memory()
        try:
            images, quarantine = _images(self.images)
            return self.samples(images, *divmod(int(block["id"][0]), self.plan.lanes), quarantine)
        except DataError as error:
            here = (
                "" if isinstance(error, BrokenImage) else f" (on node {platform.node()})"
            )  # others may have the image
            return {"error": np.array([error.message + here]), "hint": np.array([error.hint])}

    def samples(
        self, images: LabelledImages, window: int, lane: int, quarantine: Quarantine | None = None
    ) -> dict[str, np.ndarray]:
        """A lane's samples in a window of the plan, as columns; its first row tells of broken images known so far."""
        quarantine = quarantine or Quarantine(images)
        rows = self.plan.rows(window, lane)
        samples = block_samples(images, self.plan, window, lane, self.augment, self.size, quarantine)
        num_rows, first_step = len(rows.epoch), self.plan.steps(window).start
        return pack(samples, num_rows, self.size, self.augment.max_boxes)._asdict() | {
            "epoch": rows.epoch,
            "first_step": np.full(num_rows, first_step),
            "lane": np.full(num_rows, lane),
            "broken": np.array([_as_text(quarantine)] + [""] * (num_rows - 1)),
        }


def _as_text(quarantine: Quarantine) -> str:
    found = sorted(quarantine.replacements.values())
    return json.dumps([asdict(one) for one in found]) if found else ""


def broken_images(block: Block) -> list[Replacement]:
    """The broken images that the maker of a block knew of."""
    text = str(block["broken"][0])
    return [Replacement(**one) for one in json.loads(text)] if text else []


@lru_cache(maxsize=4)
def _images(reference: "ray.ObjectRef[LabelledImages]") -> tuple[LabelledImages, Quarantine]:
    """Once per worker process, not once per block."""
    images: LabelledImages = ray.get(reference)
    return images, Quarantine(images)
