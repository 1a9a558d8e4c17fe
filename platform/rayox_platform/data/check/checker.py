"""Checking one annotation file, with its images and against another split."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rayox_model.core.errors import DataError
from rayox_platform.data.check.annotations import Annotations, check_annotations
from rayox_platform.data.check.balance import check_balance
from rayox_platform.data.check.boxes import Frames, check_boxes
from rayox_platform.data.check.files import Depth, FileFacts, ImageFolder, Look
from rayox_platform.data.check.findings import Finding, Findings
from rayox_platform.data.check.leaks import Split, check_leaks
from rayox_platform.data.check.near_names import near_names
from rayox_platform.data.check.pictures import check_pictures, with_file_sizes
from rayox_platform.data.check.reading import Document, read_leniently
from rayox_platform.data.check.sections import Categories, Images, check_categories, check_images, records_of


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file's parts as far as they could be read, and what was found."""

    findings: Findings
    categories: Categories
    images: Images
    annotations: Annotations
    frames: Frames
    facts: Sequence[FileFacts | None]


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Where the images are, how closely to look at them, and for which size of the training input."""

    folder: ImageFolder | None = None
    depth: Depth = "decode"
    image_size: int = 640


@dataclass(frozen=True)
class Against:
    """Another split, which must not share images with the file."""

    path: Path
    folder: ImageFolder | None


def check_file(
    path: Path, settings: CheckSettings, look: Look, against: Against | None = None
) -> tuple[list[Finding], Checked | None]:
    """All findings of a file, in the order of the table of kinds; Checked is None where nothing could be read.

    Raises DataError if there is nothing to check it against.
    """
    findings = Findings()
    document = read_leniently(path, findings)
    if document is None:
        return findings.all(), None
    checked = check_document(document, settings, look, findings)
    if against is not None:
        split = Split(checked.categories, checked.images, settings.folder, checked.facts)
        check_leaks(split, _other_split(against, settings.depth, look), findings)
    return findings.all(), checked


def check_document(document: Document, settings: CheckSettings, look: Look, findings: Findings) -> Checked:
    """The same of a file that is read already."""
    top = document.top
    categories = check_categories(records_of(top, "categories", findings), findings)
    images = check_images(records_of(top, "images", findings), findings)
    images, facts = _look(images, settings.folder, settings.depth, look, findings)
    check_pictures(images, facts, findings)
    images, measured = with_file_sizes(images, facts)
    annotations = check_annotations(records_of(top, "annotations", findings), images, categories, findings)
    frames = check_boxes(annotations, images, measured, settings.image_size, findings)
    check_balance(categories, images, annotations, findings)
    return Checked(
        findings=findings, categories=categories, images=images, annotations=annotations, frames=frames, facts=facts
    )


def _look(
    images: Images, folder: ImageFolder | None, depth: Depth, look: Look, findings: Findings
) -> tuple[Images, list[FileFacts | None]]:
    """The images by the names they have in the folder, and what is known of each file."""
    facts: list[FileFacts | None] = [None] * len(images)
    if folder is None:
        return images, facts
    if not folder.exists():
        findings.add("no-image-folder", folder.root, "no such folder")
        return images, facts
    images = images.named_as_in(folder.has)
    rows = [at for at, name in enumerate(images.file_names) if name is not None]
    for at, fact in zip(rows, look(folder, [str(images.file_names[at]) for at in rows], depth), strict=True):
        facts[at] = fact
    _look_for_near_names(images, facts, folder, depth, look)
    return images, facts


def _look_for_near_names(
    images: Images, facts: list[FileFacts | None], folder: ImageFolder, depth: Depth, look: Look
) -> None:
    """Put the file that a missing one's name may mean in its place, marked as missing under that name."""
    missing = {at for at, fact in enumerate(facts) if fact is None or fact.missing}
    lost = {at: name for at, name in enumerate(images.written_names) if name is not None and at in missing}
    if not lost:
        return
    claimed = {posixpath.normpath(name) for at, name in enumerate(images.file_names) if name and at not in missing}
    near = near_names(lost, claimed, folder.files())
    one = [at for at in near if near[at].name]
    for at, fact in zip(one, look(folder, [near[at].name for at in one], depth), strict=True):
        facts[at] = replace(fact, missing=True, instead=near[at].name)
    for at in near.keys() - set(one):
        facts[at] = FileFacts(missing=True, alike=near[at].alike)


def _other_split(against: Against, depth: Depth, look: Look) -> Split:
    findings = Findings()
    document = read_leniently(against.path, findings)
    if document is None:
        first = findings.all()[0]
        raise DataError(f"{against.path}: {first.detail} ({first.code})", "--against takes another COCO file.")
    ignored = Findings()
    images = check_images(records_of(document.top, "images", ignored), ignored)
    categories = check_categories(records_of(document.top, "categories", ignored), ignored)
    images, facts = _look(images, against.folder, "header" if depth == "header" else "digest", look, findings)
    if "no-image-folder" in findings:
        raise DataError(
            f"{against.folder and against.folder.root}: no such folder of images", "Check --against-images."
        )
    return Split(categories, images, against.folder, facts)
