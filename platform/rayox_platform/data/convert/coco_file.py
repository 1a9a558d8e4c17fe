"""COCO files as labels, and labels as COCO files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import CocoDataset, read_coco
from rayox_platform.data.convert.labels import Box, LabelledImage, Labels
from rayox_platform.data.images import folder_images

_DIGITS = 6  # after the point, of pixels


def read_coco_labels(source: Path, images: Path | None = None) -> Labels:
    """Read a COCO file; sizes it leaves out come from `images`. Raises DataError as reading it for training does."""
    dataset = read_coco(source)
    if images is not None:
        dataset = folder_images(dataset, images).dataset
    elif (dataset.heights == 0).any():
        raise DataError(f"{source}: sizes of images are missing", "Name their folder: --images DIR.")
    return Labels(
        classes=dataset.classes,
        images=tuple(_image(dataset, index) for index in range(len(dataset))),
        category_ids=tuple(int(number) for number in dataset.category_ids),
    )


def _image(dataset: CocoDataset, index: int) -> LabelledImage:
    rows = range(int(dataset.offsets[index]), int(dataset.offsets[index + 1]))
    return LabelledImage(
        file_name=dataset.file_names[index],
        height=int(dataset.heights[index]),
        width=int(dataset.widths[index]),
        boxes=tuple(_box(dataset, row) for row in rows),
        image_id=int(dataset.image_ids[index]),
    )


def _box(dataset: CocoDataset, row: int) -> Box:
    x, y, width, height = (float(number) for number in dataset.bboxes_xywh[row])
    crowd, area = bool(dataset.iscrowd[row]), float(dataset.areas[row])
    return Box(int(dataset.labels[row]), (x, y, width, height), crowd, area)


def write_coco(labels: Labels, output: Path) -> None:
    """Write one COCO file; images, annotations and categories are numbered from 1 where the source has no ids."""
    category_ids = labels.category_ids or tuple(range(1, len(labels.classes) + 1))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(labels.images, start=1):
        image_id = image.image_id if image.image_id is not None else number
        images.append({"id": image_id, "file_name": image.file_name, "height": image.height, "width": image.width})
        annotations += _records(image.boxes, image_id, category_ids, len(annotations) + 1)
    categories = [{"id": number, "name": name} for number, name in zip(category_ids, labels.classes, strict=True)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    output.write_text(json.dumps(coco), encoding="utf-8")


def _records(boxes: Sequence[Box], image_id: int, category_ids: Sequence[int], first_id: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": category_ids[box.label],
            "bbox": [round(side, _DIGITS) for side in box.bbox],
            "area": round(box.area if box.area is not None else box.bbox[2] * box.bbox[3], _DIGITS),
            "iscrowd": int(box.crowd),
            **({"difficult": 1, "ignore": 1} if box.difficult else {}),
        }
        for number, box in enumerate(boxes, start=first_id)
    ]
