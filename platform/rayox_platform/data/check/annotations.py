"""A file's annotations as columns, record by record, with findings for what is wrong with each."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rayox_platform.data.check.findings import Findings, short
from rayox_platform.data.check.ids import check_ids, reference
from rayox_platform.data.check.reading import Record
from rayox_platform.data.check.sections import MAX_PIXELS, Categories, Images

_NO_BBOX = [float("nan")] * 4
_NUMBERS = {int, float}  # a bool is none


@dataclass(frozen=True)
class Annotations:
    """N annotations in the file's order; −1 for an image or category that is not there, NaN for no usable box."""

    ids: list[int | None]
    image_indices: Int64[np.ndarray, "N"]
    labels: Int64[np.ndarray, "N"]
    bboxes: Float64[np.ndarray, "N 4"]  # as written
    areas: Float64[np.ndarray, "N"]  # NaN where absent or wrong
    crowds: Bool[np.ndarray, "N"]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def usable(self) -> Bool[np.ndarray, "N"]:
        """With four finite numbers and width and height above 0."""
        return np.asarray(np.isfinite(self.bboxes).all(axis=1) & (self.bboxes[:, 2:] > 0).all(axis=1))

    def place(self, row: int) -> str:
        return f"annotations[{row}] (id {self.ids[row]})"


def check_annotations(records: list[Record], images: Images, categories: Categories, findings: Findings) -> Annotations:
    ids = check_ids("annotation", "annotations", [record.get("id") for record in records], findings)
    if 0 in ids:
        findings.add("zero-annotation-id", f"annotations[{ids.index(0)}]", "id 0")
    annotations = Annotations(
        ids=ids,
        image_indices=_references(records, "image", images.index_of, ids, findings),
        labels=_references(records, "category", categories.label_of, ids, findings),
        bboxes=_bboxes(records, ids, findings),
        areas=_areas(records, ids, findings),
        crowds=_crowds(records, ids, findings),
    )
    for row, record in enumerate(records):
        if record.get("segmentation") is not None:
            findings.add("invalid-segmentation", _place(ids, row), str(record["segmentation"]))
    return annotations


def _place(ids: list[int | None], row: int) -> str:
    return f"annotations[{row}] (id {ids[row]})"


def _references(
    records: list[Record], kind: str, index_of: Mapping[Hashable, int], ids: list[int | None], findings: Findings
) -> Int64[np.ndarray, "N"]:
    indices = np.full(len(records), -1, np.int64)
    if not index_of:
        return indices  # no images or categories at all is a finding already
    key = f"{kind}_id"
    for row, record in enumerate(records):
        value = record.get(key)
        named = value if type(value) is int else reference(value)
        index = index_of.get(named) if named is not None else None
        if index is None:
            findings.add(f"unknown-{kind}", _place(ids, row), f"{key} {short(value)}")
            continue
        indices[row] = index
        if type(value) is not int and isinstance(named, int):
            findings.add("inexact-id", _place(ids, row), f"{key} {short(value)} is taken as {named}")
    return indices


def _bboxes(records: list[Record], ids: list[int | None], findings: Findings) -> Float64[np.ndarray, "N 4"]:
    rows = []
    for row, record in enumerate(records):
        bbox = record.get("bbox")
        if not (isinstance(bbox, list) and len(bbox) == 4 and set(map(type, bbox)) <= _NUMBERS):
            findings.add("malformed-bbox", _place(ids, row), f"bbox {short(bbox)}" if "bbox" in record else "no bbox")
            bbox = _NO_BBOX
        elif not _within_limits(bbox):
            findings.add("non-finite-box", _place(ids, row), f"bbox {short(bbox)}")
            bbox = _NO_BBOX
        elif bbox[2] <= 0 or bbox[3] <= 0:
            findings.add("box-without-area", _place(ids, row), f"bbox {short(bbox)}")
        rows.append(bbox)
    return np.array(rows, np.float64).reshape(-1, 4)


def _within_limits(bbox: list[float]) -> bool:
    """Whether no number is NaN or absurdly large."""
    x, y, width, height = bbox
    limit = MAX_PIXELS
    return -limit < x < limit and -limit < y < limit and -limit < width < limit and -limit < height < limit


def _areas(records: list[Record], ids: list[int | None], findings: Findings) -> Float64[np.ndarray, "N"]:
    areas = np.full(len(records), np.nan)
    for row, record in enumerate(records):
        area: Any = record.get("area")
        if area is None:
            findings.add("missing-area", _place(ids, row), "no area")
        elif type(area) not in (int, float) or not 0 <= area < MAX_PIXELS**2:
            findings.add("invalid-area", _place(ids, row), f"area {short(area)}")
        else:
            areas[row] = area
    return areas


def _crowds(records: list[Record], ids: list[int | None], findings: Findings) -> Bool[np.ndarray, "N"]:
    crowds = np.zeros(len(records), np.bool_)
    for row, record in enumerate(records):
        iscrowd = record.get("iscrowd")
        if iscrowd is None:
            findings.add("missing-iscrowd", _place(ids, row), "no iscrowd")
        elif not isinstance(iscrowd, int | float) or iscrowd not in (0, 1):  # true and 1.0 are read as 1
            findings.add("invalid-iscrowd", _place(ids, row), f"iscrowd {short(iscrowd)}")
        else:
            crowds[row] = bool(iscrowd)
    return crowds
