"""The data set as a whole: too little of it, classes that nothing shows, images that show nothing."""

import numpy as np
from jaxtyping import Int64

from rayox_platform.data.check.annotations import Annotations
from rayox_platform.data.check.boxes import boxes_per_image
from rayox_platform.data.check.finding_kinds import FEW_BOXES, FEW_IMAGES, IMBALANCE
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.sections import Categories, Images


def check_balance(categories: Categories, images: Images, annotations: Annotations, findings: Findings) -> None:
    """Findings of the whole; a file without annotations is a test set, of which only the number of images counts."""
    if 0 < len(images) < FEW_IMAGES:
        findings.add("few-images", "images", f"{len(images)} images")
    if not len(annotations):
        return
    if annotations.crowds.all():
        findings.add("all-crowd", "annotations", f"all {len(annotations)} have iscrowd 1")
    else:
        _find_crowds_alone(categories, annotations, findings)
    trained = int((annotations.usable & ~annotations.crowds).sum())
    if trained < FEW_BOXES:
        findings.add("few-boxes", "annotations", f"{trained} boxes to train on")
    empty = np.flatnonzero(boxes_per_image(annotations, images) == 0)
    for at in empty:
        findings.add("image-without-annotations", images.place(int(at)), "no annotation")
    _check_classes(categories, annotations, findings)


def _find_crowds_alone(categories: Categories, annotations: Annotations, findings: Findings) -> None:
    known = annotations.labels >= 0
    counts = np.bincount(annotations.labels[known], minlength=len(categories.ids))
    single = np.bincount(annotations.labels[known & ~annotations.crowds], minlength=len(categories.ids))
    for label in np.flatnonzero((counts > 0) & (single == 0)):
        detail = f"{categories.names[label]!r}: all {counts[label]} have iscrowd 1"
        findings.add("crowd-only-class", f"categories[{label}]", detail)


def _check_classes(categories: Categories, annotations: Annotations, findings: Findings) -> None:
    labels = annotations.labels[annotations.labels >= 0]
    counts = np.bincount(labels, minlength=len(categories.ids)).astype(np.int64)
    if not counts.any():
        return
    named = {label for label in categories.label_of.values() if categories.ids[label] is not None}
    for label in np.flatnonzero(counts == 0):
        if label not in named:
            continue  # nothing can refer to it: a finding already
        place, name = f"categories[{label}]", categories.names[label]
        if categories.ids[label] == 0:
            parents = sum(name is not None and parent == name for parent in categories.supercategories)
            of = f", supercategory of {parents}" if parents else ""
            findings.add("placeholder-category", place, f"{name!r}{of} has no annotation")
        else:
            findings.add("unused-category", place, repr(name))
    _check_imbalance(categories, counts, findings)


def _check_imbalance(categories: Categories, counts: Int64[np.ndarray, "C"], findings: Findings) -> None:
    shown = np.flatnonzero(counts)
    most = shown[np.argmax(counts[shown])]
    for label in shown[counts[shown] * IMBALANCE < counts[most]]:
        detail = f"{categories.names[label]!r} {counts[label]} against {categories.names[most]!r} {counts[most]}"
        findings.add("class-imbalance", f"categories[{label}]", detail)
