"""A mended copy of an annotation file: what is safe to repair or to drop; everything else stays as it is.

Safe is what leaves no choice. Two categories of one id, two images of one id or a category without a name stay.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.check.checker import CheckSettings, check_document
from rayox_platform.data.check.files import Look
from rayox_platform.data.check.findings import Finding, Findings
from rayox_platform.data.check.ids import renumbered
from rayox_platform.data.check.mend_annotations import mended_annotations
from rayox_platform.data.check.mend_images import mended_images
from rayox_platform.data.check.reading import SECTIONS, Document, Record, read_leniently
from rayox_platform.data.check.segmentation import segmentation_problem

HOW = {
    "byte-order-mark": "left out",
    "not-utf8": "written as UTF-8",
    "not-strict-json": "null written",
    "duplicate-key": "sections put together; elsewhere the last value kept, as readers do",
    "malformed-record": "dropped",
    "inexact-id": "written as whole numbers",
    "padded-category-name": "trimmed",
    "invalid-image-id": "numbered anew where references agree, else image dropped",
    "invalid-category-id": "numbered anew where references agree",
    "invalid-file-name": "image dropped",
    "file-name-from-url": "written",
    "duplicate-file-name": "images of one size merged",
    "path-outside-images": "the name of the file that is meant, else image dropped",
    "file-name-url": "the name of the file that is meant, else image dropped",
    "file-name-backslash": "/ written",
    "invalid-image-size": "taken from the file, else left out",
    "missing-image-size": "taken from the file",
    "swapped-image-size": "swapped",
    "image-size-differs": "taken from the file",
    "missing-image-file": "the name of the file that is meant, else image dropped",
    "invalid-annotation-id": "numbered anew",
    "duplicate-annotation-id": "all but the first numbered anew",
    "zero-annotation-id": "numbered anew",
    "unknown-image": "annotation dropped",
    "unknown-category": "annotation dropped",
    "malformed-bbox": "numbers made of text, or taken from the segmentation, else annotation dropped",
    "non-finite-box": "taken from the segmentation, else annotation dropped",
    "box-without-area": "taken from the segmentation, else annotation dropped",
    "box-outside-image": "taken from the segmentation, else annotation dropped",
    "boxes-are-corners": "converted",
    "boxes-are-centers": "converted",
    "boxes-are-fractions": "converted",
    "box-past-edge": "clipped",
    "duplicate-box": "all but the first dropped",
    "missing-area": "width × height written",
    "zero-area": "width × height written",
    "invalid-area": "width × height written",
    "area-exceeds-box": "width × height written",
    "missing-iscrowd": "0 written",
    "invalid-iscrowd": "0 written",
    "invalid-segmentation": "left out",
}


@dataclass(frozen=True)
class Mended:
    """A copy that was written: how each kind of finding was mended, what is left in it, and what is gone."""

    path: Path
    fixed: dict[str, str]
    left: list[Finding]
    dropped: "Dropped"

    @property
    def ok(self) -> bool:
        """No finding is an error, and something is left to train on."""
        return not self.dropped.all_annotations and not any(found.severity == "error" for found in self.left)


@dataclass(frozen=True)
class Dropped:
    """Records of the file that a mended copy is without."""

    images: int
    annotations: int
    all_annotations: bool  # of a file that had some

    def __str__(self) -> str:
        gone = ": nothing is left to train on" if self.all_annotations else ""
        return f"dropped: {self.images} images, {self.annotations} annotations{gone}"


def mend_file(source: Path, output: Path, settings: CheckSettings, look: Look) -> Mended:
    """Write a mended copy of `source`.

    Raises ConfigError if that would overwrite it, DataError (nothing is written) if no copy would be of use.
    """
    refuse_overwriting(source, output)
    findings = Findings()
    document = read_leniently(source, findings, keep_all=True)
    if document is None or not document.lossless:
        raise DataError(f"{source}: cannot be mended: {findings.all()[0].detail}", "Export the data set again.")
    top, merged = _mended(document, settings, look, findings)
    after = Findings()
    check_document(Document(_judged(top)), settings, look, after)
    for section in ("images", "categories"):
        if not top[section]:
            raise DataError(f"{source}: cannot be mended: no {section} would be left", "See the findings.")
    _write(top, output)
    fixed = {found.code: HOW[found.code] for found in findings.all() if found.code in HOW and found.code not in after}
    return Mended(output, fixed, after.all(), _dropped(document.top, top, merged))


def refuse_overwriting(source: Path, output: Path) -> None:
    """Raises ConfigError if `output` is the source, or cannot be a file."""
    if output.exists() and source.exists() and os.path.samefile(source, output):
        raise ConfigError(f"--fix: {output} is the file itself, which is never overwritten", "name another file")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"--fix: {output} cannot be written", "name a file in a folder that is there")


def _mended(document: Document, settings: CheckSettings, look: Look, findings: Findings) -> tuple[Record, int]:
    """The copy, and how many images went into another of the same file."""
    top = {**document.top, **{section: document.top.get(section) or [] for section in SECTIONS}}
    if not all(isinstance(top[section], list) for section in SECTIONS):
        raise DataError("cannot be mended: a section is not a list", "Export the data set again.")
    checked = check_document(Document(_judged(top)), settings, look, findings)
    top |= {section: [record for record in top[section] if isinstance(record, dict)] for section in SECTIONS}
    images, image_ids = mended_images(top["images"], checked)
    sizes = {image["id"]: (image.get("height") or 0, image.get("width") or 0) for image in images}
    category_ids = renumbered(checked.categories.ids, checked.categories.keys, checked.annotations.labels)
    mended = {
        **top,
        "images": images,
        "annotations": mended_annotations(top["annotations"], checked, image_ids, sizes, category_ids),
        "categories": _mended_categories(top["categories"], checked.categories.names, category_ids),
    }
    return mended, len(image_ids) - len(images)


def _dropped(before: Record, after: Record, merged: int) -> Dropped:
    gone = {section: len(before.get(section) or []) - len(after[section]) for section in ("images", "annotations")}
    all_annotations = gone["annotations"] > 0 and not after["annotations"]
    return Dropped(gone["images"] - merged, gone["annotations"], all_annotations)


def _judged(top: Record) -> Record:
    """The file as the checks take it: segmentations replaced by what is wrong with them."""
    annotations = [
        record | {"segmentation": segmentation_problem(record.get("segmentation"))}
        if isinstance(record, dict)
        else record
        for record in top["annotations"]
    ]
    return top | {"annotations": annotations}


def _mended_categories(
    records: Sequence[Record], names: Sequence[str | None], ids: Sequence[int | None]
) -> list[Record]:
    trimmed = [name.strip() if name is not None else None for name in names]
    mended = []
    for record, number, name in zip(records, ids, trimmed, strict=True):
        known = {} if number is None else {"id": number}
        mended.append(record | known | ({"name": name} if name is not None and trimmed.count(name) == 1 else {}))
    return mended


def _write(top: Record, output: Path) -> None:
    """Whole or not at all."""
    try:
        text = json.dumps(top, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(top), allow_nan=False)
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"--fix: {output} cannot be written ({error.strerror})", "name another file") from None


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value
