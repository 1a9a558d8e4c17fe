"""The records of a COCO file, checked one by one: ids, names, sizes, boxes.

What would train wrongly raises a Defect; oddities that do no harm are put right and counted in `notes`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from rayox_platform.data.url_names import URL_KEY, name_from_url

Json = Mapping[str, Any]
BBOX_HINT = "COCO's bbox is [x, y, width, height] in pixels: four finite numbers."
MAX_PIXELS = 10_000_000  # no side is longer; keeps float32 finite
NAME_FROM_URL = "images without file_name (taken from coco_url)"
SIZE_ABSENT = "images without height or width (read from the image)"
AREA_ABSENT = "annotations without area (width × height taken)"
AREA_ZERO = "annotations with area 0 but a real box (kept: COCO counts them small)"
CROWD_ABSENT = "annotations without iscrowd (0 taken)"
ID_REPEATED = "annotation ids used twice (they are not needed)"
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
            raise Defect(
                f"{key}[{position}] is not an object but {_short(record)}", "Each record is an object in braces."
            )
    return records


def read_categories(records: list[Json]) -> tuple[tuple[str, ...], list[int]]:
    """Names and ids in order of the ids."""
    ids = [_whole(record.get("id"), f"categories[{position}].id") for position, record in enumerate(records)]
    names = [record.get("name") for record in records]
    for category_id, name in zip(ids, names, strict=True):
        if not isinstance(name, str) or not name:
            raise Defect(f"category {category_id}: name {_short(name)} is not text", "Give every category a name.")
    _refuse_repeated("category id", ids)
    _refuse_repeated("category name", names)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return tuple(str(names[i]) for i in order), [ids[i] for i in order]


@dataclass(frozen=True)
class Images:
    """The records of images as columns; height and width are 0 unless both are given."""

    ids: Int64[np.ndarray, "M"]
    file_names: list[str]
    heights: Int32[np.ndarray, "M"]
    widths: Int32[np.ndarray, "M"]

    @staticmethod
    def read(records: list[Json], notes: Counter[str]) -> "Images":
        ids, file_names, sizes = [], [], []
        for position, record in enumerate(records):
            image_id = _whole(record.get("id"), f"images[{position}].id")
            name = record.get("file_name")
            if name is None:
                name = name_from_url(record.get(URL_KEY))
                notes[NAME_FROM_URL] += name is not None
            if not isinstance(name, str) or not name:
                raise Defect(f"image {image_id}: file_name {_short(name)} is not text", "Name the image's file.")
            height, width = (_pixels(record.get(key), f"image {image_id}: {key}") for key in ("height", "width"))
            notes[SIZE_ABSENT] += not (height and width)
            ids.append(image_id)
            file_names.append(name)
            sizes.append((height, width) if height and width else (0, 0))
        _refuse_repeated("image id", ids)
        _refuse_repeated("file_name", file_names)
        heights, widths = np.array(sizes, np.int32).reshape(-1, 2).T
        return Images(np.array(ids, np.int64), file_names, heights.copy(), widths.copy())


@dataclass(frozen=True)
class Annotations:
    """The records of annotations as columns, in the file's order."""

    ids: Int64[np.ndarray, "N"]
    image_indices: Int64[np.ndarray, "N"]
    labels: Int64[np.ndarray, "N"]
    bboxes_xywh: Float64[np.ndarray, "N 4"]
    areas: Float64[np.ndarray, "N"]
    iscrowd: Bool[np.ndarray, "N"]

    @staticmethod
    def read(records: list[Json], images: Images, category_ids: list[int], notes: Counter[str]) -> "Annotations":
        index_of = {image_id: index for index, image_id in enumerate(images.ids.tolist())}
        label_of = {category_id: label for label, category_id in enumerate(category_ids)}
        ids, image_indices, labels, bboxes, areas, crowds = [], [], [], [], [], []
        for position, record in enumerate(records):
            annotation_id = _whole(record.get("id"), f"annotations[{position}].id")
            where = f"annotation {annotation_id}"
            bbox = _bbox(record, where)
            ids.append(annotation_id)
            image_indices.append(_known(index_of, record, "image_id", where))
            labels.append(_known(label_of, record, "category_id", where))
            bboxes.append(bbox)
            areas.append(_area(record, bbox, where, notes))
            crowds.append(_crowd(record, where, notes))
        notes[ID_REPEATED] += len(ids) - len(set(ids))
        return Annotations(
            np.array(ids, np.int64),
            np.array(image_indices, np.int64),
            np.array(labels, np.int64),
            np.array(bboxes, np.float64).reshape(-1, 4),
            np.array(areas, np.float64),
            np.array(crowds, np.bool_),
        )


def _bbox(record: Json, where: str) -> list[float]:
    value: Any = record.get("bbox")
    four = isinstance(value, list) and len(value) == 4
    if not four or not all(_is_finite(number) and abs(number) < MAX_PIXELS for number in value):
        outlined = " `rayox data check FILE --fix OUT` takes it from the segmentation."
        raise Defect(f"{where}: bbox is {_short(value)}", BBOX_HINT + (outlined if record.get("segmentation") else ""))
    return [float(number) for number in value]


def _area(record: Json, bbox: list[float], where: str, notes: Counter[str]) -> float:
    area = record.get("area")
    if area is None:
        notes[AREA_ABSENT] += 1
        return max(bbox[2], 0.0) * max(bbox[3], 0.0)
    if not _is_finite(area) or not 0 <= area < MAX_PIXELS**2:
        raise Defect(f"{where}: area is {_short(area)}", "It is the object's pixels; leave it out if it is unknown.")
    notes[AREA_ZERO] += area == 0 < bbox[2] * bbox[3]
    return float(area)


def _crowd(record: Json, where: str, notes: Counter[str]) -> bool:
    iscrowd = record.get("iscrowd")
    if iscrowd is None:
        notes[CROWD_ABSENT] += 1
        return False
    if iscrowd not in (0, 1):
        raise Defect(f"{where}: iscrowd is {_short(iscrowd)}", "It is 0 or 1.")
    return bool(iscrowd)


def _known(index_of: dict[int, int], record: Json, key: str, where: str) -> int:
    number = _whole(record.get(key), f"{where}: {key}")
    if number not in index_of:
        of_what = "image" if key == "image_id" else "category"
        article = "an" if of_what[0] in "aeio" else "a"
        raise Defect(
            f"{where}: {key} {number} is not {article} {of_what} of the file", "Add it, or remove the annotation."
        )
    return index_of[number]


def _whole(value: object, where: str) -> int:
    """A whole number; 3.0 and "3" are too, as some exporters write, and mean the same id as 3."""
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise Defect(
            f"{where} is {_short(value)}",
            "Ids are whole numbers below 2⁶³. `rayox data check FILE --fix OUT` numbers them anew.",
        )
    return value


def _pixels(value: object, where: str) -> int:
    """A side's length, 0 if it is not given."""
    if value is None:
        return 0
    if not _is_finite(value) or not 0 <= value < MAX_PIXELS or int(value) != value:
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
