"""The annotations of a mended copy: those with a real box in a known image, in COCO's form."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from rayox_platform.data.check.annotations import Annotations
from rayox_platform.data.check.checker import Checked
from rayox_platform.data.check.frames import OtherForm, centers_as_corners, fractions_as_xywh
from rayox_platform.data.check.ids import fresh_ids
from rayox_platform.data.check.reading import Record
from rayox_platform.data.check.sections import MAX_PIXELS
from rayox_platform.data.check.segmentation import segmentation_problem
from rayox_platform.data.check.segmentation_box import box_of_segmentation

_DIGITS = 4  # after the point, of pixels


def mended_annotations(
    records: Sequence[Record],
    checked: Checked,
    image_ids: Mapping[int, int],
    sizes: Mapping[int, tuple[int, int]],
    category_ids: Sequence[int | None],
) -> list[Record]:
    """The annotations that stay.

    `image_ids` are by the position of the old image, `sizes` by the new id (0 if unknown), `category_ids` by label.
    """
    old = checked.annotations
    size_of = [sizes.get(image_ids.get(int(index), -1), (0, 0)) for index in old.image_indices]
    boxes, certain = _in_coco_form(old, checked.frames.form, size_of)
    fresh = _FreshIds(old)
    mended: list[Record] = []
    seen = set()
    for row, record in enumerate(records):
        image_id, label = image_ids.get(int(old.image_indices[row])), int(old.labels[row])
        category_id = category_ids[label] if label >= 0 else None
        if image_id is None or category_id is None:
            continue
        bbox = [float(side) for side in boxes[row]] if np.isfinite(boxes[row]).all() else _numbers(record)
        if certain or bbox is None:
            bbox = _clipped(bbox, *size_of[row]) or _clipped(_outlined(record, *size_of[row]), *size_of[row])
        key = (image_id, category_id, *(bbox or ()))
        if bbox is None or key in seen:
            continue
        seen.add(key)
        annotation = record | {"id": fresh.of(row), "image_id": image_id, "category_id": category_id}
        annotation |= {"iscrowd": int(old.crowds[row]), "area": _area(record, float(old.areas[row]), bbox)}
        if bbox != record.get("bbox"):
            annotation["bbox"] = bbox
        if segmentation_problem(record.get("segmentation")) is not None:
            del annotation["segmentation"]
        mended.append(annotation)
    return mended


def _in_coco_form(
    old: Annotations, form: OtherForm | None, sizes: Sequence[tuple[int, int]]
) -> tuple[Float64[np.ndarray, "N 4"], bool]:
    """The boxes as COCO has them, and whether that is certain: all agree in one form."""
    boxes = old.bboxes.copy()
    if form is None:
        return boxes, True
    rows = form.rows
    if form.form == "unknown" or (rows != np.isfinite(boxes).all(axis=1)).any():
        return boxes, False
    if form.form == "corners":
        boxes[rows, 2:] -= boxes[rows, :2]
    elif form.form == "centers":
        boxes[rows, :2] = centers_as_corners(boxes[rows])[:, :2]
    else:
        scale = np.array([(width, height, width, height) for height, width in sizes], np.float64).reshape(-1, 4)[rows]
        fractions = fractions_as_xywh(boxes[rows])
        if fractions is None or (scale == 0).any():
            return boxes, False
        boxes[rows] = fractions * scale
    return np.round(boxes, _DIGITS), True


def _numbers(record: Record) -> list[float] | None:
    """Four numbers written as text."""
    bbox = record.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not {*map(type, bbox)} <= {str, int, float}:
        return None
    try:
        numbers = [float(word) for word in bbox]
    except (ValueError, OverflowError):
        return None
    return numbers if all(abs(number) < MAX_PIXELS for number in numbers) else None  # NaN is not


def _outlined(record: Record, height: int, width: int) -> list[float] | None:
    """The box of the segmentation, unless that is in fractions."""
    bbox = box_of_segmentation(record.get("segmentation"))
    if bbox is None or (max(bbox[0] + bbox[2], bbox[1] + bbox[3]) <= 1 and min(height, width) != 1):
        return None
    return [round(side, _DIGITS) for side in bbox]


def _clipped(bbox: list[float] | None, height: int, width: int) -> list[float] | None:
    """The part within the image; None if nothing is."""
    if bbox is None or bbox[2] <= 0 or bbox[3] <= 0:
        return None
    x, y, w, h = bbox
    right, bottom = x + w, y + h
    if x >= 0 and y >= 0 and (not height or (right <= width and bottom <= height)):
        return bbox
    left, top = max(x, 0.0), max(y, 0.0)
    if height:
        right, bottom = min(right, float(width)), min(bottom, float(height))
    if right <= left or bottom <= top:
        return None
    return [round(left, _DIGITS), round(top, _DIGITS), round(right - left, _DIGITS), round(bottom - top, _DIGITS)]


def _area(record: Record, area: float, bbox: list[float]) -> float:
    product = bbox[2] * bbox[3]
    if not area > 0 or area > product * 1.05 + 1:
        return round(product, _DIGITS)
    given: float = record["area"]
    return given


class _FreshIds:
    """Ids of annotations: their own, but each once, and from 1."""

    def __init__(self, old: Annotations) -> None:
        self._ids, self._fresh, self._taken = old.ids, fresh_ids(old.ids), {0}

    def of(self, row: int) -> int:
        number = self._ids[row]
        if number is None or number in self._taken:
            number = next(self._fresh)
        self._taken.add(number)
        return number
