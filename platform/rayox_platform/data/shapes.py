"""The embedded data set "shapes": rendered in seconds, the same every time, and not easy.

512 training and 500 validation images of 8 classes. Classes have an outline of their own and a hue around which their
objects' hues scatter, so far that neighbours overlap; textures, turns and sizes are independent of the class. A quarter
of the objects are partly hidden (up to 40 %), some regions are crowds, 5 % of the images have no object, and dull
clutter lies about that is not a class. A box is the tight extent of the object's *visible* pixels, and `area` counts
them; each annotation also carries `occlusion`, the hidden share of the object.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from rayox_model.core.modes import open_to_others
from rayox_platform.data.outlines import OUTLINES
from rayox_platform.data.scene import PaintedObject, Scene, paint_scene

VERSION = 1  # of the rendered bytes: raise it with any change to how the images look
MOST_PROCESSES = 8
SPLITS = {"train": 512, "val": 500}
CATEGORY_IDS = dict(zip(OUTLINES, (1, 2, 4, 7, 8, 11, 12, 16), strict=True))  # gaps, as real files have
_SPLIT_STREAMS = {"train": 0, "val": 1}


def shapes_folder(state: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of the rendered data set under the state folder; rendered first if it is not there.

    It appears whole or not at all, also when several processes ask at once.
    """
    folder = state / "cache" / f"shapes-v{VERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        render_shapes(unfinished, progress)
        open_to_others(unfinished)
        os.rename(unfinished, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same bytes
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def render_shapes(folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write `annotations/<split>.json` and `<split>/*.jpg`; `progress(done, total)` is called after each image."""
    total, done = sum(SPLITS.values()), 0
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    with _processes() as pool:
        for split, num_images in SPLITS.items():
            (folder / split).mkdir(exist_ok=True)
            coco = _empty_coco()
            drawn = pool.map(_draw, repeat(split), range(num_images), chunksize=8)
            for index, one in enumerate(drawn):
                _add_image(coco, folder / split, index, one)
                done += 1
                if progress is not None:
                    progress(done, total)
            (folder / "annotations" / f"{split}.json").write_text(json.dumps(coco, separators=(",", ":")))


@contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """One for each core; left by an exception, what is not begun is dropped."""
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, MOST_PROCESSES), mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _Drawn(NamedTuple):
    content: bytes  # of the JPEG file
    size: tuple[int, int]  # (height, width)
    objects: list[PaintedObject]


def _draw(split: str, index: int) -> _Drawn:
    scene = _render(split, index)
    _, content = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    height, width = scene.image.shape[:2]
    return _Drawn(content.tobytes(), (height, width), scene.objects)


def _render(split: str, index: int) -> Scene:
    key = (VERSION << 32) + _SPLIT_STREAMS[split]
    rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))
    return paint_scene(rng, empty=index % 20 == 13)


def _empty_coco() -> dict[str, Any]:
    return {
        "info": {"description": "rayox shapes", "version": str(VERSION)},
        "images": [],
        "annotations": [],
        "categories": [{"id": CATEGORY_IDS[name], "name": name, "supercategory": "shape"} for name in OUTLINES],
    }


def _add_image(coco: dict[str, Any], folder: Path, index: int, drawn: _Drawn) -> None:
    image_id, name = index + 1, f"{index + 1:06d}.jpg"
    (folder / name).write_bytes(drawn.content)
    height, width = drawn.size
    coco["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
    for thing in drawn.objects:
        annotation = {
            "id": len(coco["annotations"]) + 1,
            "image_id": image_id,
            "category_id": CATEGORY_IDS[thing.name],
            "bbox": list(thing.box_xywh),
            "area": thing.area,
            "iscrowd": int(thing.crowd_rle is not None),
            "occlusion": round(thing.occlusion, 4),
        }
        if thing.crowd_rle is not None:
            annotation["segmentation"] = {"size": [height, width], "counts": thing.crowd_rle}
        coco["annotations"].append(annotation)
