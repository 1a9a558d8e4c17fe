"""Our augmentation, timed once per line of standard input.

rayox_samples.py FOLDER SIZE KIND PARTNERS COUNT    answers with: seconds for COUNT samples, images decoded for them

KIND is mosaic+mixup (settings of S to X) or mosaic (of nano); PARTNERS dataset, window, or floor: one whole JPEG
decoded and one warp of it into the output for each sample, and nothing else.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import block_samples, keep_freed_memory
from rayox_model.augment.geometry import draw_affine, warp_over
from rayox_model.core.pack import pack
from rayox_model.core.plan import StreamPlan, sample_rng
from rayox_platform.data.coco import read_coco
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import open_source

ROWS_PER_STEP = 8
LANES = 8


class CountedImages(CocoImages):
    decoded = 0

    def load(self, index):
        self.decoded += 1
        return super().load(index)

    def load_reduced(self, index, factor):
        self.decoded += 1
        return super().load_reduced(index, factor)


def settings_of(kind: str, partners: str) -> Augment:
    if kind == "mosaic":
        return Augment(partners=partners, mosaic_scale=(0.5, 1.5), mixup_prob=0.0)
    return Augment(partners=partners)


def blocks(images: CocoImages, augment: Augment, side: int, count: int) -> Iterator[None]:
    """Blocks of `count` samples of one lane after another, as the data tasks make them."""
    plan = StreamPlan(
        num_images=len(images),
        batch_size=ROWS_PER_STEP * LANES,
        lanes=LANES,
        epochs=10_000,
        seed=0,
        closing_epochs=0,
        window_steps=count // ROWS_PER_STEP,
        partner_steps=augment.partner_window // ROWS_PER_STEP,
    )
    for window in range(plan.num_windows):
        for lane in range(LANES):
            samples = block_samples(images, plan, window, lane, augment, (side, side))
            pack(samples, plan.num_rows(window), (side, side), augment.max_boxes)
            yield


def floor(images: CocoImages, side: int, count: int) -> Iterator[None]:
    number = 0
    while True:
        for _ in range(count):
            matrix = draw_affine(sample_rng(0, 0, number), Augment(mosaic_scale=(1.0, 1.0)), (side, side))
            image = images.load(number % len(images)).image
            matrix[:, :2] *= side / max(image.shape)
            warp_over(np.full((side, side, 4), 114, np.uint8), cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), matrix)
            number += 1
        yield


def serve(folder: Path, side: int, kind: str, partners: str, count: int) -> None:
    dataset = read_coco(folder / "annotations/instances_train2017.json")
    images = CountedImages(dataset, open_source(dataset, folder / "train2017"))
    if partners == "floor":
        work = floor(images, side, count)
    else:
        work = blocks(images, settings_of(kind, partners), side, count)
    for _ in sys.stdin:
        images.decoded = 0
        start = time.process_time()
        next(work)
        print(time.process_time() - start, images.decoded, flush=True)


if __name__ == "__main__":
    cv2.setNumThreads(0)
    keep_freed_memory()
    serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5]))
