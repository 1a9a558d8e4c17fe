"""Reading COCO annotation files into arrays.

Classes are all categories of the file in the order of their ids, used or not; images stay in the file's order.
What would train wrongly is refused; oddities that do no harm are put right and counted in `notes`.
Evaluation sees every annotation exactly as it is written; training leaves out crowds and boxes without area,
and clips boxes to the image.

M images, N annotations, C classes.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from rayox_model.errors import DataError

from .records import BBOX_HINT, Annotations, Defect, Images, Json, read_categories, records_of


@dataclass(frozen=True, kw_only=True)
class CocoDataset:
    """A data set's annotations, grouped by image: those of image i are rows offsets[i] to offsets[i + 1]."""

    source: str  # the file they were read from
    classes: tuple[str, ...]
    category_ids: Int64[np.ndarray, "C"]
    image_ids: Int64[np.ndarray, "M"]
    file_names: tuple[str, ...]
    heights: Int32[np.ndarray, "M"]  # 0 where the file does not say
    widths: Int32[np.ndarray, "M"]
    offsets: Int64[np.ndarray, "M+1"]
    bboxes_xywh: Float64[np.ndarray, "N 4"]  # as written, for evaluation
    boxes: Float32[np.ndarray, "N 4"]  # xyxy, clipped to the image, for training
    trainable: Bool[np.ndarray, "N"]  # no crowd, and area left after clipping
    labels: Int64[np.ndarray, "N"]
    annotation_ids: Int64[np.ndarray, "N"]
    areas: Float64[np.ndarray, "N"]
    iscrowd: Bool[np.ndarray, "N"]
    notes: Mapping[str, int]  # what was odd, and how often

    def __len__(self) -> int:
        return len(self.image_ids)

    def training_annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        """Boxes (xyxy, in the image's pixels) and labels of one image as training sees them; G may be 0."""
        rows = slice(self.offsets[index], self.offsets[index + 1])
        keep = self.trainable[rows]
        return self.boxes[rows][keep], self.labels[rows][keep]

    def with_sizes(self, heights: Int32[np.ndarray, "M"], widths: Int32[np.ndarray, "M"]) -> "CocoDataset":
        """The same with every image's size known, and the boxes clipped to it."""
        boxes = _clipped(self.bboxes_xywh, self.offsets, heights, widths)
        trainable = ~self.iscrowd & _has_area(boxes)
        return replace(self, heights=heights, widths=widths, boxes=boxes, trainable=trainable)


def read_coco(path: Path | str) -> CocoDataset:
    """Read an annotation file; one without annotations (a test set) is a data set without boxes.

    Raises DataError, naming the file and the record, for what is not COCO or would train wrongly.
    """
    path = Path(path)
    coco = _read_json(path)
    notes: Counter[str] = Counter()
    try:
        classes, category_ids = read_categories(records_of(coco, "categories"))
        images = Images.read(records_of(coco, "images"), notes)
        annotations = Annotations.read(records_of(coco, "annotations", optional=True), images, category_ids, notes)
    except Defect as defect:
        raise DataError(f"{path}: {defect}", defect.hint) from None
    return _assemble(path, classes, category_ids, images, annotations, notes)


def _read_json(path: Path) -> Json:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "Check the path of the annotations.") from None
    if not content.strip():
        raise DataError(f"{path}: the file is empty", "Copy or export it again.")
    try:
        coco = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})", "It may be cut short: copy it again.") from None
    if not isinstance(coco, dict):
        hint = "Results files are lists; annotations are needed here." if isinstance(coco, list) else ""
        raise DataError(f"{path}: a COCO file holds an object at the top, this one a {type(coco).__name__}", hint)
    return coco


def _assemble(
    path: Path,
    classes: tuple[str, ...],
    category_ids: list[int],
    images: Images,
    annotations: Annotations,
    notes: Counter[str],
) -> CocoDataset:
    image_indices = np.array(annotations.image_indices, np.int64)
    order = np.argsort(image_indices, kind="stable")
    bboxes_xywh = np.array(annotations.bboxes_xywh, np.float64).reshape(-1, 4)[order]
    offsets = np.searchsorted(image_indices[order], np.arange(len(images.ids) + 1)).astype(np.int64)
    heights, widths = np.array(images.heights, np.int32), np.array(images.widths, np.int32)
    _refuse_other_frames(path, bboxes_xywh, np.repeat(heights, np.diff(offsets)), np.repeat(widths, np.diff(offsets)))
    boxes = _clipped(bboxes_xywh, offsets, heights, widths)
    iscrowd = np.array(annotations.iscrowd, np.bool_)[order]
    _note_boxes(bboxes_xywh, boxes, notes)
    return CocoDataset(
        source=str(path),
        classes=classes,
        category_ids=np.array(category_ids, np.int64),
        image_ids=np.array(images.ids, np.int64),
        file_names=tuple(images.file_names),
        heights=heights,
        widths=widths,
        offsets=offsets,
        bboxes_xywh=bboxes_xywh,
        boxes=boxes,
        trainable=~iscrowd & _has_area(boxes),
        labels=np.array(annotations.labels, np.int64)[order],
        annotation_ids=np.array(annotations.ids, np.int64)[order],
        areas=np.array(annotations.areas, np.float64)[order],
        iscrowd=iscrowd,
        notes={what: count for what, count in notes.items() if count},
    )


def _clipped(
    bboxes_xywh: Float64[np.ndarray, "N 4"],
    offsets: Int64[np.ndarray, "M+1"],
    heights: Int32[np.ndarray, "M"],
    widths: Int32[np.ndarray, "M"],
) -> Float32[np.ndarray, "N 4"]:
    """xyxy, clipped to the image where its size is known."""
    corners = np.concatenate([bboxes_xywh[:, :2], bboxes_xywh[:, :2] + bboxes_xywh[:, 2:]], axis=1)
    limits = np.stack([widths, heights, widths, heights], axis=1).astype(np.float64)  # [M, 4]
    limits[limits == 0] = np.inf
    clipped: Float32[np.ndarray, "N 4"] = np.clip(corners, 0, np.repeat(limits, np.diff(offsets), axis=0)).astype(
        np.float32
    )
    return clipped


def _has_area(boxes: Float32[np.ndarray, "N 4"]) -> Bool[np.ndarray, "N"]:
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def _note_boxes(
    bboxes_xywh: Float64[np.ndarray, "N 4"], boxes: Float32[np.ndarray, "N 4"], notes: Counter[str]
) -> None:
    corners = bboxes_xywh[:, :2] + bboxes_xywh[:, 2:]
    past_edge = (np.abs(corners - boxes[:, 2:]) > 0.5).any(axis=1) | (bboxes_xywh[:, :2] < -0.5).any(axis=1)
    notes["boxes without area in the image (not trained)"] += int((~_has_area(boxes)).sum())
    notes["boxes past the image's edge (clipped)"] += int((past_edge & _has_area(boxes)).sum())


def _refuse_other_frames(
    path: Path,
    bboxes_xywh: Float64[np.ndarray, "N 4"],
    heights: Int32[np.ndarray, "N"],
    widths: Int32[np.ndarray, "N"],
) -> None:
    """Corners or fractions written where COCO has [x, y, width, height] in pixels: told from five boxes on."""
    if len(bboxes_xywh) < 5:
        return
    if (bboxes_xywh <= 1.0).all() and (bboxes_xywh >= 0.0).all():
        raise DataError(f"{path}: all boxes lie between 0 and 1, so they are fractions of the image", BBOX_HINT)
    x, y, third, fourth = bboxes_xywh.T
    valid_as_corners = (third >= x) & (fourth >= y) & (third <= widths) & (fourth <= heights)
    past_edge = (x + third > widths + 2) | (y + fourth > heights + 2)
    if valid_as_corners.all() and past_edge.mean() > 0.2:
        share = f"{past_edge.mean():.0%}"
        raise DataError(
            f"{path}: boxes look like corners [x1, y1, x2, y2]: read as COCO's, {share} of them leave the image",
            BBOX_HINT,
        )
