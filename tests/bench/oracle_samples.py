"""The official augmentation (pixeltable-yolox 0.4.3); run by the oracle's own Python.

    oracle_samples.py time FOLDER SIZE KIND COUNT   a line on standard input makes COUNT samples; answers with seconds
    oracle_samples.py mosaics FOLDER CASES OUT      makes mosaics with the draws in CASES (.npz), into OUT (.npz)

FOLDER has annotations/instances_train2017.json and train2017/. KIND is mosaic+mixup or mosaic.
"""

import contextlib
import random
import sys
import time

import cv2
import numpy as np
from yolox.data import CocoDataset, MosaicDetection, TrainTransform, data_augment
from yolox.data.datasets import mosaicdetection


def official_images(folder: str, size: tuple[int, int]) -> CocoDataset:
    with contextlib.redirect_stdout(sys.stderr):  # pycocotools reports there
        return CocoDataset(data_dir=folder, img_size=size)


def official_samples(folder: str, size: int, kind: str) -> MosaicDetection:
    """As its own data loader makes it, read from disk: settings of S to X, or of nano."""
    mixup = kind == "mosaic+mixup"
    return MosaicDetection(
        official_images(folder, (size, size)),
        img_size=(size, size),
        preproc=TrainTransform(max_labels=120, flip_prob=0.5, hsv_prob=1.0),
        degrees=10.0,
        translate=0.1,
        mosaic_scale=(0.1, 2.0) if mixup else (0.5, 1.5),
        mixup_scale=(0.5, 1.5),
        shear=2.0,
        enable_mixup=mixup,
    )


def serve(folder: str, size: int, kind: str, count: int) -> None:
    samples = official_samples(folder, size, kind)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the official code draws from it
    order = iter(np.random.default_rng(0).permutation(np.tile(np.arange(len(samples)), 400)).tolist())
    for _ in sys.stdin:
        indices = [next(order) for _ in range(count)]
        start = time.process_time()
        for index in indices:
            samples[index]
        print(time.process_time() - start, flush=True)


def draw_mosaics(folder: str, cases: str, out: str) -> None:
    """Each case: four indices, centre (x, y), affine, size. Draws are put in where the official code makes them."""
    case = dict(np.load(cases))
    arrays: dict[str, np.ndarray] = {}
    size = int(case["size"])
    images = official_images(folder, (size, size))
    samples = MosaicDetection(
        images, (size, size), preproc=lambda image, labels, _: (image, labels), enable_mixup=False
    )
    for number, (indices, centre, affine) in enumerate(
        zip(case["indices"].tolist(), case["centre"].tolist(), case["affine"], strict=True)
    ):
        mosaicdetection.random = Draws(uniform=[centre[1], centre[0]], randint=indices[1:])
        data_augment.get_affine_matrix = lambda *_, matrix=affine: (matrix, 1.0)
        image, labels, *_ = samples[indices[0]]
        arrays[f"image_{number}"] = image
        arrays[f"labels_{number}"] = labels
    np.savez_compressed(out, **arrays)


class Draws:
    """Stands in for the module random in one call: gives what has been drawn."""

    def __init__(self, uniform: list[float], randint: list[int]) -> None:
        self.uniform = lambda *_: uniform.pop(0)
        self.randint = lambda *_: randint.pop(0)
        self.random = lambda: 0.0


def main() -> None:
    cv2.setNumThreads(0)
    match sys.argv[1:]:
        case ["time", folder, size, kind, count]:
            serve(folder, int(size), kind, int(count))
        case ["mosaics", folder, cases, out]:
            draw_mosaics(folder, cases, out)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
