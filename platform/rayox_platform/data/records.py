"""The records of a COCO file, checked one by one: ids, names, sizes, boxes.

What would train wrongly raises a Defect; oddities that do no harm are put right and counted in `notes`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

Json = Mapping[str, Any]
BBOX_HINT = "COCO's bbox is [x, y, width, height] in pixels: four finite numbers."
_MAX_PIXELS = 10_000_000  # no side is longer; keeps float32 finite
_DIGITS = re.compile(r"-?[0-9]{1,18}")


class Defect(Exception):
    """What is wrong with a record, before the file's name is put to it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def records_of(coco: Json, key: str, optional: bool = False) -> list[Json]:
    """One of the file's lists, checked to hold objects."""
    records = coco.get(key)
    if records is None and optional:
        return []
    if not isinstance(records, list):
        found = ", ".join(sorted(coco)[:8]) or "nothing"
        raise Defect(f"no list named '{key}' (found: {found})", "COCO files have images, annotations and categories.")
    if not records and not optional:
        raise Defect(f"'{key}' is empty", "Without it nothing can be trained or evaluated.")
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise Defect(f"{key}[{position}] is no object but {_short(record)}", "Each record is an object in braces.")
    return records


def read_categories(records: list[Json]) -> tuple[tuple[str, ...], list[int]]:
    """Names and ids in order of the ids."""
    ids = [_whole(record.get("id"), f"categories[{position}].id") for position, record in enumerate(records)]
    names = [record.get("name") for record in records]
    for category_id, name in zip(ids, names, strict=True):
        if not isinstance(name, str) or not name:
            raise Defect(f"category {category_id}: name {_short(name)} is no text", "Give every category a name.")
    _refuse_repeated("category id", ids)
    _refuse_repeated("category name", names)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return tuple(str(names[i]) for i in order), [ids[i] for i in order]


@dataclass(frozen=True)
class Images:
    """The records of images as columns; height and width are 0 unless both are given."""

    ids: list[int]
    file_names: list[str]
    heights: list[int]
    widths: list[int]

    @staticmethod
    def read(records: list[Json], notes: Counter[str]) -> "Images":
        images = Images([], [], [], [])
        for position, record in enumerate(records):
            image_id = _whole(record.get("id"), f"images[{position}].id")
            name = record.get("file_name")
            if not isinstance(name, str) or not name:
                raise Defect(f"image {image_id}: file_name {_short(name)} is no text", "Name the image's file.")
            height, width = (_pixels(record.get(key), f"image {image_id}: {key}") for key in ("height", "width"))
            notes["images without height or width (read from the image)"] += not (height and width)
            images.ids.append(image_id)
            images.file_names.append(name)
            images.heights.append(height if width else 0)
            images.widths.append(width if height else 0)
        _refuse_repeated("image id", images.ids)
        _refuse_repeated("file_name", images.file_names)
        return images


@dataclass(frozen=True)
class Annotations:
    """The records of annotations as columns, in the file's order."""

    ids: list[int]
    image_indices: list[int]
    labels: list[int]
    bboxes_xywh: list[list[float]]
    areas: list[float]
    iscrowd: list[bool]

    @staticmethod
    def read(records: list[Json], images: Images, category_ids: list[int], notes: Counter[str]) -> "Annotations":
        index_of = {image_id: index for index, image_id in enumerate(images.ids)}
        label_of = {category_id: label for label, category_id in enumerate(category_ids)}
        read = Annotations([], [], [], [], [], [])
        for position, record in enumerate(records):
            annotation_id = _whole(record.get("id"), f"annotations[{position}].id")
            where = f"annotation {annotation_id}"
            bbox = _bbox(record.get("bbox"), where)
            read.ids.append(annotation_id)
            read.image_indices.append(_known(index_of, record, "image_id", where))
            read.labels.append(_known(label_of, record, "category_id", where))
            read.bboxes_xywh.append(bbox)
            read.areas.append(_area(record, bbox, where, notes))
            read.iscrowd.append(_crowd(record, where, notes))
        notes["annotation ids used twice (they are not needed)"] += len(read.ids) - len(set(read.ids))
        return read


def _bbox(value: Any, where: str) -> list[float]:
    four = isinstance(value, list) and len(value) == 4
    if not four or not all(_is_finite(number) and abs(number) < _MAX_PIXELS for number in value):
        raise Defect(f"{where}: bbox is {_short(value)}", BBOX_HINT)
    return [float(number) for number in value]


def _area(record: Json, bbox: list[float], where: str, notes: Counter[str]) -> float:
    area = record.get("area")
    if area is None:
        notes["annotations without area (width × height taken)"] += 1
        return max(bbox[2], 0.0) * max(bbox[3], 0.0)
    if not _is_finite(area) or not 0 <= area < _MAX_PIXELS**2:
        raise Defect(f"{where}: area is {_short(area)}", "It is the object's pixels; leave it out if it is unknown.")
    notes["annotations with area 0 but a real box (kept: COCO counts them small)"] += area == 0 < bbox[2] * bbox[3]
    return float(area)


def _crowd(record: Json, where: str, notes: Counter[str]) -> bool:
    iscrowd = record.get("iscrowd")
    if iscrowd is None:
        notes["annotations without iscrowd (0 taken)"] += 1
        return False
    if iscrowd not in (0, 1):
        raise Defect(f"{where}: iscrowd is {_short(iscrowd)}", "It is 0 or 1.")
    return bool(iscrowd)


def _known(index_of: dict[int, int], record: Json, key: str, where: str) -> int:
    number = _whole(record.get(key), f"{where}: {key}")
    if number not in index_of:
        of_what = "image" if key == "image_id" else "category"
        raise Defect(f"{where}: {key} {number} is no {of_what} of the file", "Add it, or remove the annotation.")
    return index_of[number]


def _whole(value: object, where: str) -> int:
    """A whole number; 3.0 and "3" are too, as some exporters write, and mean the same id as 3."""
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise Defect(f"{where} is {_short(value)}", "Ids are whole numbers.")
    return value


def _pixels(value: object, where: str) -> int:
    """A side's length, 0 if it is not given."""
    if value is None:
        return 0
    if not _is_finite(value) or not 0 <= value < _MAX_PIXELS or int(value) != value:
        raise Defect(f"{where} is {_short(value)}", "It is a whole number of pixels.")
    return int(value)


def _is_finite(value: object) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _refuse_repeated(what: str, values: Iterable[object]) -> None:
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise Defect(f"{what} {value!r} stands {count} times", "Each must be there once: rename or merge them.")


def _short(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
