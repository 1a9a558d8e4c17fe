"""Counting and measuring a data set. Defective records are left out: `rayox data check` names them.

M images, N boxes (crowds among them).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rayox_model.core.errors import DataError
from rayox_platform.data.check.annotations import Annotations, check_annotations
from rayox_platform.data.check.boxes import sizes_of
from rayox_platform.data.check.files import ImageFolder, Look
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.pictures import with_file_sizes
from rayox_platform.data.check.reading import read_leniently
from rayox_platform.data.check.sections import Categories, Images, check_categories, check_images, records_of

SMALL, LARGE = 32.0**2, 96.0**2  # COCO's borders of small, medium and large areas, in pixels
_QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}


@dataclass(frozen=True)
class ClassCount:
    name: str
    boxes: int  # without crowds
    images: int


@dataclass(frozen=True)
class Shares:
    """Boxes by COCO's sizes."""

    small: int
    medium: int
    large: int


@dataclass(frozen=True, kw_only=True)
class DataStats:
    """The numbers of a data set; boxes are without crowds."""

    images: int
    boxes: int
    crowds: int
    empty_images: int  # without any annotation
    left_out: int  # annotations without a usable box, image or category
    classes: tuple[ClassCount, ...]  # in order of their ids
    sizes: Shares  # by the annotated area
    image_size: int
    sizes_at_training: Shares  # by width × height at image_size
    boxes_per_image: dict[str, float]
    aspect_ratios: dict[str, float]  # width / height
    shorter_sides_at_training: dict[str, float]
    image_sizes: tuple[tuple[str, int], ...]  # "width × height", the most common ones


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The boxes and images the numbers are of."""

    class_names: tuple[str, ...]
    labels: Int64[np.ndarray, "N"]
    box_images: Int64[np.ndarray, "N"]
    bboxes: Float64[np.ndarray, "N 4"]
    areas: Float64[np.ndarray, "N"]
    crowds: Bool[np.ndarray, "N"]
    box_scales: Float64[np.ndarray, "N"]  # to training size; 1 where the image's size is unknown
    box_image_sizes: Float64[np.ndarray, "N 2"]  # (height, width); NaN where unknown
    heights: Int64[np.ndarray, "M"]  # 0 where unknown
    widths: Int64[np.ndarray, "M"]
    num_annotations: int

    @property
    def boxes_per_image(self) -> Int64[np.ndarray, "M"]:
        return np.bincount(self.box_images[~self.crowds], minlength=len(self.heights)).astype(np.int64)


def measure(path: Path, folder: ImageFolder | None, look: Look, image_size: int) -> Measured:
    """Read a file; sizes it leaves out come from the images. Raises DataError for what is not a COCO file."""
    findings = Findings()
    document = read_leniently(path, findings)
    if document is None:
        first = findings.all()[0]
        raise DataError(f"{path}: {first.detail} ({first.code})", f"`rayox data check {path}` says more.")
    categories = check_categories(records_of(document.top, "categories", findings), findings)
    images = check_images(records_of(document.top, "images", findings), findings)
    if not len(images):
        raise DataError(f"{path}: no images", f"`rayox data check {path}` says more.")
    images = _sized(images, folder, look)
    annotations = check_annotations(records_of(document.top, "annotations", findings), images, categories, findings)
    return _columns(annotations, images, categories, image_size)


def _sized(images: Images, folder: ImageFolder | None, look: Look) -> Images:
    unknown = [at for at, name in enumerate(images.file_names) if name is not None and not images.heights[at]]
    if folder is None or not unknown:
        return images
    if not folder.exists():
        raise DataError(f"{folder.root}: no such folder of images", "Check --images.")
    found = dict(zip(unknown, look(folder, [str(images.file_names[at]) for at in unknown], "header"), strict=True))
    return with_file_sizes(images, [found.get(at) for at in range(len(images))])[0]


def _columns(annotations: Annotations, images: Images, categories: Categories, image_size: int) -> Measured:
    order = sorted(range(len(categories.ids)), key=lambda at: (categories.ids[at] is None, categories.ids[at] or 0))
    rank = np.argsort(order).astype(np.int64) if order else np.zeros(1, np.int64)
    kept = annotations.usable & (annotations.image_indices >= 0) & (annotations.labels >= 0)
    heights, widths = (side[kept] for side in sizes_of(annotations, images))
    longer = np.fmax(heights, widths)
    bboxes, areas = annotations.bboxes[kept], annotations.areas[kept]
    product = bboxes[:, 2] * bboxes[:, 3]
    return Measured(
        class_names=tuple(categories.names[at] or f"category {categories.ids[at]}" for at in order),
        labels=rank[annotations.labels[kept]],
        box_images=annotations.image_indices[kept],
        bboxes=bboxes,
        areas=np.where(np.isnan(areas), product, areas),
        crowds=annotations.crowds[kept],
        box_scales=np.where(np.isnan(longer), 1.0, image_size / np.fmax(longer, 1)),
        box_image_sizes=np.column_stack([heights, widths]),
        heights=images.heights,
        widths=images.widths,
        num_annotations=len(annotations),
    )


def numbers_of(measured: Measured, image_size: int) -> DataStats:
    objects = ~measured.crowds
    sides = measured.bboxes[objects, 2:]
    at_training = sides * measured.box_scales[objects, None]
    any_box = np.bincount(measured.box_images, minlength=len(measured.heights))
    common = Counter(zip(measured.widths.tolist(), measured.heights.tolist(), strict=True)).most_common(10)
    return DataStats(
        images=len(measured.heights),
        boxes=int(objects.sum()),
        crowds=int(measured.crowds.sum()),
        empty_images=int((any_box == 0).sum()),
        left_out=measured.num_annotations - len(measured.labels),
        classes=_classes(measured),
        sizes=_shares(measured.areas[objects]),
        image_size=image_size,
        sizes_at_training=_shares(at_training.prod(axis=1)),
        boxes_per_image=_quantiles(measured.boxes_per_image),
        aspect_ratios=_quantiles(sides[:, 0] / sides[:, 1]),
        shorter_sides_at_training=_quantiles(at_training.min(axis=1, initial=np.inf)),
        image_sizes=tuple((f"{width} × {height}" if height else "unknown", count) for (width, height), count in common),
    )


def _classes(measured: Measured) -> tuple[ClassCount, ...]:
    objects = ~measured.crowds
    labels, images = measured.labels[objects], measured.box_images[objects]
    num = len(measured.class_names)
    boxes = np.bincount(labels, minlength=num)
    pairs = np.unique(np.column_stack([labels, images]), axis=0)
    in_images = np.bincount(pairs[:, 0], minlength=num)
    return tuple(map(ClassCount, measured.class_names, boxes.tolist(), in_images.tolist()))


def _shares(areas: Float64[np.ndarray, "N"]) -> Shares:
    small, large = int((areas < SMALL).sum()), int((areas >= LARGE).sum())
    return Shares(small, len(areas) - small - large, large)


def _quantiles(values: Float64[np.ndarray, "N"] | Int64[np.ndarray, "M"]) -> dict[str, float]:
    """Empty where there are no values."""
    if not len(values):
        return {}
    found = {name: round(float(np.quantile(values, share)), 3) for name, share in _QUANTILES.items()}
    return found | {"mean": round(float(values.mean()), 3)}
