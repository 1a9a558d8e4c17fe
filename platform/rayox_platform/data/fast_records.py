"""The records of a clean COCO file, column by column: what makes train2017 load in seconds.

msgspec decodes only the fields that are needed (polygons are skipped), numpy checks them. Whatever is not exactly as
COCO writes it makes this give up with None: the careful reader in records.py then names the defect, or puts the
oddity right. For files that this reads, both give the same columns and notes.
"""

import codecs
from collections import Counter
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from jaxtyping import Bool, Float64, Int64

from rayox_platform.data.records import (
    AREA_ABSENT,
    AREA_ZERO,
    CROWD_ABSENT,
    ID_REPEATED,
    MAX_PIXELS,
    NAME_FROM_URL,
    SIZE_ABSENT,
    Annotations,
    Images,
)
from rayox_platform.data.url_names import name_from_url

_PIECE_BYTES = 1 << 24


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str | None = None
    coco_url: str | None = None
    height: int | None = None
    width: int | None = None


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | None = None


class _File(msgspec.Struct, gc=False):
    categories: list[_Category]
    images: list[_Image]
    annotations: list[_Annotation] | None = None


class Columns(NamedTuple):
    """A whole file."""

    classes: tuple[str, ...]
    category_ids: list[int]
    images: Images
    annotations: Annotations


class _Odd(Exception):
    """Not for this reader."""


def read_columns(content: bytes, notes: Counter[str]) -> Columns | None:
    """Read a clean file's content; None, with the notes as they were, for one that needs the careful reader."""
    found: Counter[str] = Counter()
    try:
        file = msgspec.json.decode(content, type=_File)
        _require(_is_utf8(content))  # msgspec does not look into text it skips
        columns = _columns(file, found)
    except (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError, _Odd):
        return None
    notes.update(found)
    return columns


def _columns(file: _File, notes: Counter[str]) -> Columns:
    categories = sorted(file.categories, key=lambda category: category.id)
    category_ids = np.array([category.id for category in categories], np.int64)
    classes = tuple(category.name for category in categories)
    _require(len(classes) > 0 and all(classes) and len(set(classes)) == len(classes) and _are_ids(category_ids))
    images = _images(file.images, notes)
    annotations = _annotations(file.annotations or [], images.ids, category_ids, notes)
    return Columns(classes, category_ids.tolist(), images, annotations)


def _images(records: list[_Image], notes: Counter[str]) -> Images:
    ids = np.array([image.id for image in records], np.int64)
    names = [image.file_name for image in records]
    if None in names:
        names = [name_from_url(image.coco_url) if image.file_name is None else image.file_name for image in records]
        notes[NAME_FROM_URL] += sum(image.file_name is None for image in records)
    _require(len(names) > 0 and all(names) and len(set(names)) == len(names) and _are_ids(ids))
    sizes = np.array([(image.height or 0, image.width or 0) for image in records], np.int64)
    _require(bool(((sizes >= 0) & (sizes < MAX_PIXELS)).all()))
    absent = (sizes == 0).any(axis=1)
    sizes[absent] = 0
    notes[SIZE_ABSENT] += int(absent.sum())
    heights, widths = sizes.astype(np.int32).T
    return Images(ids, [str(name) for name in names], heights.copy(), widths.copy())


def _annotations(
    records: list[_Annotation],
    image_ids: Int64[np.ndarray, "M"],
    category_ids: Int64[np.ndarray, "C"],
    notes: Counter[str],
) -> Annotations:
    count = len(records)
    ids = np.fromiter((record.id for record in records), np.int64, count)
    _require(bool((ids > np.iinfo(np.int64).min).all()))
    numbers = chain.from_iterable(record.bbox for record in records)
    bboxes = np.fromiter(numbers, np.float64, 4 * count).reshape(count, 4)
    _require(bool((np.abs(bboxes) < MAX_PIXELS).all()))
    notes[ID_REPEATED] += count - len(np.unique(ids))
    return Annotations(
        ids,
        _positions(np.fromiter((record.image_id for record in records), np.int64, count), image_ids),
        _positions(np.fromiter((record.category_id for record in records), np.int64, count), category_ids),
        bboxes,
        _areas([record.area for record in records], bboxes, notes),
        _crowds([record.iscrowd for record in records], notes),
    )


def _areas(
    areas: list[float | None], bboxes: Float64[np.ndarray, "N 4"], notes: Counter[str]
) -> Float64[np.ndarray, "N"]:
    values = np.array(areas, np.float64)  # nan where absent
    absent = np.isnan(values)
    values[absent] = np.maximum(bboxes[absent, 2], 0) * np.maximum(bboxes[absent, 3], 0)
    zero = (values == 0) & (bboxes[:, 2] * bboxes[:, 3] > 0) & ~absent
    _require(bool(((values >= 0) & (values < MAX_PIXELS**2)).all()))
    notes[AREA_ABSENT] += int(absent.sum())
    notes[AREA_ZERO] += int(zero.sum())
    return values


def _crowds(crowds: list[int | None], notes: Counter[str]) -> Bool[np.ndarray, "N"]:
    _require(set(crowds) <= {None, 0, 1})
    notes[CROWD_ABSENT] += crowds.count(None)
    return np.array(crowds, np.bool_)  # None is False


def _positions(values: Int64[np.ndarray, "N"], among: Int64[np.ndarray, "M"]) -> Int64[np.ndarray, "N"]:
    """Where each value stands; all have to be there."""
    order = np.argsort(among, kind="stable")
    places = np.minimum(np.searchsorted(among[order], values), len(among) - 1)
    found = order[places]
    _require(bool((among[found] == values).all()))
    return found.astype(np.int64)


def _are_ids(ids: Int64[np.ndarray, "M"]) -> bool:
    return len(np.unique(ids)) == len(ids) and bool((ids > np.iinfo(np.int64).min).all())


def _is_utf8(content: bytes) -> bool:
    """Whether bytes are text, looked at in pieces: a copy would not fit beside them; as json, with lone surrogates."""
    if content.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for start in range(0, len(content), _PIECE_BYTES):
        decoder.decode(content[start : start + _PIECE_BYTES])
    decoder.decode(b"", final=True)
    return True


def _require(clean: bool) -> None:
    if not clean:
        raise _Odd
