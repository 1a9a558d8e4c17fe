"""Reading COCO annotation files into arrays.

Classes are all categories of the file in the order of their ids, used or not; images stay in the file's order.
What would train wrongly is refused; oddities that do no harm are put right and counted in `notes`.
Evaluation sees every annotation exactly as it is written; training leaves out crowds and boxes without area,
and clips boxes to the image.

M images, N annotations, C classes.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from rayox_model.core.errors import DataError
from rayox_platform.data.fast_records import Columns, read_columns
from rayox_platform.data.names import FileNames
from rayox_platform.data.other_coco_files import OTHER_COCO_HINT, other_coco_file
from rayox_platform.data.records import BBOX_HINT, Annotations, Defect, Images, Json, read_categories, records_of
from rayox_platform.storage.folders import is_remote, missing_bucket, open_folder, split_address
from rayox_platform.storage.object_store import explained


@dataclass(frozen=True, kw_only=True)
class CocoDataset:
    """A data set's annotations, grouped by image: those of image i are rows offsets[i] to offsets[i + 1]."""

    source: str  # the file they were read from
    classes: tuple[str, ...]
    category_ids: Int64[np.ndarray, "C"]
    image_ids: Int64[np.ndarray, "M"]
    file_names: Sequence[str]
    heights: Int32[np.ndarray, "M"]  # 0 where the file does not say
    widths: Int32[np.ndarray, "M"]
    offsets: Int64[np.ndarray, "M+1"]
    bboxes_xywh: Float64[np.ndarray, "N 4"]  # as written, for evaluation
    labels: Int64[np.ndarray, "N"]
    annotation_ids: Int64[np.ndarray, "N"]
    areas: Float64[np.ndarray, "N"]
    iscrowd: Bool[np.ndarray, "N"]
    notes: Mapping[str, int]  # what was odd, and how often
    boxes: Float32[np.ndarray, "N 4"] = field(init=False)  # xyxy, clipped to the image, for training
    trainable: Bool[np.ndarray, "N"] = field(init=False)  # no crowd, and area left after clipping

    def __post_init__(self) -> None:
        boxes = _clipped(self.bboxes_xywh, self.offsets, self.heights, self.widths)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "trainable", ~self.iscrowd & _has_area(boxes))

    def __len__(self) -> int:
        return len(self.image_ids)

    def training_annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        """Boxes (xyxy, in the image's pixels) and labels of one image as training sees them; G may be 0."""
        rows = slice(self.offsets[index], self.offsets[index + 1])
        keep = self.trainable[rows]
        return self.boxes[rows][keep], self.labels[rows][keep]

    def with_sizes(self, heights: Int32[np.ndarray, "M"], widths: Int32[np.ndarray, "M"]) -> "CocoDataset":
        """The same with every image's size known, and the boxes clipped to it."""
        return replace(self, heights=heights, widths=widths)


def read_coco(address: Path | str) -> CocoDataset:
    """Read an annotation file, here or on an object store; one without annotations is a data set without boxes.

    Raises DataError, naming the file and the record, for what is not COCO or would train wrongly.
    """
    folder, name = split_address(address)
    source = address if is_remote(str(address)) else Path(folder, name)
    opened = open_folder(folder)
    try:
        content = opened.read(name)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            error = missing_bucket(opened) or error
        said, hint = explained(error, "Check the path of the annotations.")
        if not is_remote(str(address)):
            said = error.strerror or said
        raise DataError(f"{source}: cannot be read ({said})", hint) from None
    return parse_coco(content, str(source))


def parse_coco(content: bytes, source: str) -> CocoDataset:
    """The same from a file's content; `source` is what messages call it."""
    notes: Counter[str] = Counter()
    columns = read_columns(content, notes) or read_carefully(content, source, notes)
    return _assemble(source, columns, notes)


def read_carefully(content: bytes, source: str, notes: Counter[str]) -> Columns:
    """Record by record, to name what is wrong, or to put right what is odd."""
    coco = _parse_json(content, source)
    other = other_coco_file(coco)
    if other is not None:
        raise DataError(f"{source}: {other}", OTHER_COCO_HINT)
    try:
        classes, category_ids = read_categories(records_of(coco, "categories"))
        images = Images.read(records_of(coco, "images"), notes)
        annotations = Annotations.read(records_of(coco, "annotations", optional=True), images, category_ids, notes)
    except Defect as defect:
        raise DataError(f"{source}: {defect}", defect.hint) from None
    return Columns(classes, category_ids, images, annotations)


def _parse_json(content: bytes, source: str) -> Json:
    if not content.strip():
        raise DataError(f"{source}: the file is empty", "Copy or export it again.")
    try:
        coco = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not readable as JSON ({error})", "It may be cut short: copy it again.") from None
    if not isinstance(coco, dict):
        hint = "Results files are lists; annotations are needed here." if isinstance(coco, list) else ""
        raise DataError(f"{source}: a COCO file has an object at the top, this one has a {type(coco).__name__}", hint)
    return coco


def _assemble(source: str, columns: Columns, notes: Counter[str]) -> CocoDataset:
    classes, category_ids, images, annotations = columns
    order = np.argsort(annotations.image_indices, kind="stable")
    bboxes_xywh = annotations.bboxes_xywh[order]
    counts = np.bincount(annotations.image_indices, minlength=len(images.ids))
    _refuse_other_frames(source, bboxes_xywh, np.repeat(images.heights, counts), np.repeat(images.widths, counts))
    dataset = CocoDataset(
        source=source,
        classes=classes,
        category_ids=np.array(category_ids, np.int64),
        image_ids=images.ids,
        file_names=FileNames.of(images.file_names),
        heights=images.heights,
        widths=images.widths,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        bboxes_xywh=bboxes_xywh,
        labels=annotations.labels[order],
        annotation_ids=annotations.ids[order],
        areas=annotations.areas[order],
        iscrowd=annotations.iscrowd[order],
        notes={},
    )
    _note_boxes(bboxes_xywh, dataset.boxes, notes)
    return replace(dataset, notes={what: count for what, count in notes.items() if count})


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
    source: str,
    bboxes_xywh: Float64[np.ndarray, "N 4"],
    heights: Int32[np.ndarray, "N"],
    widths: Int32[np.ndarray, "N"],
) -> None:
    """Corners or fractions written where COCO has [x, y, width, height] in pixels: told from five boxes on."""
    if len(bboxes_xywh) < 5:
        return
    if (bboxes_xywh <= 1.0).all() and (bboxes_xywh >= 0.0).all():
        raise DataError(f"{source}: all boxes lie between 0 and 1, so they are fractions of the image", BBOX_HINT)
    x, y, third, fourth = bboxes_xywh.T
    valid_as_corners = (third >= x) & (fourth >= y) & (third <= widths) & (fourth <= heights)
    past_edge = (x + third > widths + 2) | (y + fourth > heights + 2)
    if valid_as_corners.all() and past_edge.mean() > 0.2:
        share = f"{past_edge.mean():.0%}"
        raise DataError(
            f"{source}: boxes look like corners [x1, y1, x2, y2]: read as COCO's, {share} of them leave the image",
            BBOX_HINT,
        )
