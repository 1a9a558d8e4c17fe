"""The official augmentation (pixeltable-yolox 0.4.3); run by the oracle's own Python.

    oracle_samples.py time FOLDER SIZE KIND COUNT   a line on standard input makes COUNT samples; answers with seconds
    oracle_samples.py small OUT                     mosaics of small drawn images, and their input, to OUT (.npz)
    oracle_samples.py full FOLDER SIZE COUNT OUT    mosaics of a folder of photos, to OUT (.npz)

FOLDER has annotations/instances_train2017.json and train2017/. KIND is mosaic+mixup or mosaic.
"""

import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path

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


def draws(count: int, num_images: int, size: int) -> dict[str, np.ndarray]:
    """Indices, centres (x, y) and affines of mosaics, over the published ranges."""
    rng = np.random.default_rng(1)
    angle, scale = np.radians(rng.uniform(-10, 10, count)), rng.uniform(0.3, 2.0, count)
    shear = np.tan(np.radians(rng.uniform(-2, 2, (count, 2))))
    affine = np.zeros((count, 2, 3))
    affine[:, 0, 0], affine[:, 1, 1] = scale * np.cos(angle), scale * np.cos(angle)
    affine[:, 0, 1], affine[:, 1, 0] = scale * np.sin(angle), -scale * np.sin(angle)
    affine[:, 0, :2] += shear[:, :1] * affine[:, 1, :2]
    affine[:, 1, :2] += shear[:, 1:] * affine[:, 0, :2]
    affine[:, :, 2] = rng.uniform(-0.1, 0.1, (count, 2)) * size
    indices = rng.permuted(np.tile(np.arange(num_images), (count, 1)), axis=1)[:, :4]
    centre = rng.integers(size // 2, size * 3 // 2, (count, 2))
    return {"size": np.array(size), "indices": indices, "centre": centre, "affine": affine}


def draw_mosaics(folder: str, size: int, count: int, out: str, **inputs: np.ndarray) -> None:
    """The official mosaics of draws; these are put in where its code makes its own."""
    images = official_images(folder, (size, size))
    samples = MosaicDetection(images, (size, size), preproc=lambda image, boxes, _: (image, boxes), enable_mixup=False)
    case = draws(count, len(images), size)
    for number, (indices, centre, affine) in enumerate(
        zip(case["indices"].tolist(), case["centre"].tolist(), case["affine"], strict=True)
    ):
        mosaicdetection.random = Draws(uniform=[centre[1], centre[0]], randint=indices[1:])
        data_augment.get_affine_matrix = lambda *_, matrix=affine: (matrix, 1.0)
        image, boxes, *_ = samples[indices[0]]
        inputs |= {f"mosaic_{number}": image, f"boxes_{number}": boxes}  # boxes: xyxy, class
    np.savez_compressed(out, **case, **inputs)


def small_folder(folder: Path) -> dict[str, np.ndarray]:
    """Six soft images with three boxes each, written as PNG; gives what is in them."""
    rng = np.random.default_rng(0)
    coco = {"images": [], "annotations": [], "categories": [{"id": c, "name": str(c)} for c in range(3)]}
    inputs = {}
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    for number in range(6):
        height, width = rng.integers(50, 90, 2).tolist()
        image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 5)
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
        corners = np.sort(rng.integers(0, (width, height), (3, 2, 2)), axis=1)
        boxes = np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1)  # xyxy
        cv2.imwrite(str(folder / "train2017" / f"{number}.png"), image)
        coco["images"].append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for label, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            box = {"id": len(coco["annotations"]) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
            coco["annotations"].append({**box, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
        inputs |= {f"input_{number}": image, f"input_boxes_{number}": boxes}
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(coco))
    return inputs


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
        case ["small", out]:
            with tempfile.TemporaryDirectory() as folder:
                draw_mosaics(folder, 64, 12, out, **small_folder(Path(folder)))
        case ["full", folder, size, count, out]:
            draw_mosaics(folder, int(size), int(count), out)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
