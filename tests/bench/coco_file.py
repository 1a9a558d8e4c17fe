"""A COCO file of train2017's size: 118,287 images, 860,001 annotations with polygons, about 450 MB."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

NUM_IMAGES, NUM_ANNOTATIONS, NUM_CLASSES = 118_287, 860_001, 80
_URL = (
    '"license": 3,"coco_url": "http://images.cocodataset.org/train2017/{name}","date_captured": "2013-11-14 11:18:45"'
)


def write_coco_file(path: Path, seed: int = 0) -> None:
    """Write the file record by record, laid out as the original."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="ascii") as file:
        file.write('{"info": {"year": 2017},"licenses": [{"id": 3,"name": "none"}],"images": [')
        ids = np.sort(rng.choice(600_000, NUM_IMAGES, replace=False)) + 1
        rng.shuffle(ids)
        file.writelines(_joined(_image(int(image_id)) for image_id in ids))
        file.write('],"annotations": [')
        file.writelines(_joined(_annotations(rng, ids)))
        file.write('],"categories": [')
        file.writelines(_joined(f'{{"supercategory": "s","id": {n + 1},"name": "class {n}"}}' for n in range(80)))
        file.write("]}")


def _joined(records: Iterator[str]) -> Iterator[str]:
    for number, record in enumerate(records):
        yield ("," if number else "") + record


def _image(image_id: int) -> str:
    name = f"{image_id:012d}.jpg"
    return f'{{{_URL.format(name=name)},"file_name": "{name}","height": 480,"width": 640,"id": {image_id}}}'


def _annotations(rng: np.random.Generator, ids: np.ndarray) -> Iterator[str]:
    outlines = [_outline(rng) for _ in range(4096)]
    images = rng.choice(ids, NUM_ANNOTATIONS).tolist()
    classes = rng.integers(1, NUM_CLASSES + 1, NUM_ANNOTATIONS).tolist()
    corners = np.round(rng.uniform(0, [[400, 300]], (NUM_ANNOTATIONS, 2)), 2).tolist()
    sides = np.round(rng.uniform(2, 170, (NUM_ANNOTATIONS, 2)), 2).tolist()
    for number, (image, label, (x, y), (width, height)) in enumerate(zip(images, classes, corners, sides, strict=True)):
        crowd = int(number % 86 == 0)
        counts = f'{{"counts": [{",".join(map(str, range(100, 300)))}],"size": [480,640]}}'
        outline = counts if crowd else f"[[{outlines[number % len(outlines)]}]]"
        yield (
            f'{{"segmentation": {outline},"area": {width * height / 2:.4f},"iscrowd": {crowd},"image_id": {image},'
            f'"bbox": [{x},{y},{width},{height}],"category_id": {label},"id": {number + 1}}}'
        )


def _outline(rng: np.random.Generator) -> str:
    points = rng.uniform(0, 640, 2 * rng.integers(8, 46))
    return ",".join(f"{value:.2f}" for value in points)
