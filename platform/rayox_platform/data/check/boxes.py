"""Boxes against their images: outside, past the edge, in another form, too small to be learned, twice."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rayox_platform.data.check.annotations import Annotations
from rayox_platform.data.check.finding_kinds import CROWDED, PAST_EDGE_PIXELS, SAME_SIZE_PIXELS, TINY_PIXELS
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.frames import OtherForm, other_form
from rayox_platform.data.check.sections import Images

_MUCH_PAST_EDGE = 1.1  # times the side
_AREA_SLACK = 1.05
_FORM_CODES = {
    "corners": "boxes-are-corners",
    "centers": "boxes-are-centers",
    "fractions": "boxes-are-fractions",
    "unknown": "boxes-leave-images",
}


class Frames(NamedTuple):
    """What boxes are written in other than COCO's form and their image's own frame."""

    form: OtherForm | None
    swapped: frozenset[int]  # images whose height and width look swapped


def check_boxes(
    annotations: Annotations, images: Images, measured: Bool[np.ndarray, "M"], image_size: int, findings: Findings
) -> Frames:
    """Findings of all N boxes.

    `measured` says whose size was seen to be the file's own; `image_size` is the side of the training input.
    """
    frames, heights, widths = _frames(annotations, images, measured)
    for at in sorted(frames.swapped):
        detail = f"annotated {images.widths[at]} × {images.heights[at]} (width × height); swapped, all boxes fit"
        findings.add("swapped-image-size", images.place(at), detail)
    fine = annotations.usable
    if frames.form is not None:
        _add(_FORM_CODES[frames.form.form], frames.form.rows, annotations, findings, frames.form.detail)
        fine = fine & ~frames.form.rows
    _check_edges(annotations, fine, heights, widths, findings)
    _check_learnable(annotations, fine, heights, widths, image_size, findings)
    _check_areas(annotations, fine, findings)
    _find_duplicates(annotations, findings)
    _find_crowded(annotations, images, findings)
    return frames


def _frames(
    annotations: Annotations, images: Images, measured: Bool[np.ndarray, "M"]
) -> tuple[Frames, Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """The frames, and height and width of each box's image in them.

    Swapped sizes may look like boxes of no form, or like centers: then they are the better reading if they explain all.
    """
    heights, widths = sizes_of(annotations, images)
    form = other_form(annotations.bboxes, heights, widths, annotations.areas)
    swapped = _swapped_sizes(annotations, images, measured)
    turned = np.isin(annotations.image_indices, swapped)
    turned_heights, turned_widths = np.where(turned, widths, heights), np.where(turned, heights, widths)
    turned_form = other_form(annotations.bboxes, turned_heights, turned_widths, annotations.areas)
    if form is None or form.form == "unknown" or (form.form == "centers" and turned_form is None):
        return Frames(turned_form, frozenset(map(int, swapped))), turned_heights, turned_widths
    return Frames(form, frozenset()), heights, widths


def sizes_of(annotations: Annotations, images: Images) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Height and width of each box's image; NaN where unknown."""
    known = annotations.image_indices >= 0
    sizes = []
    for side in (images.heights, images.widths):
        of_box = np.full(len(annotations), np.nan)
        of_box[known] = side[annotations.image_indices[known]]
        of_box[of_box == 0] = np.nan
        sizes.append(of_box)
    return sizes[0], sizes[1]


def _add(code: str, rows: Bool[np.ndarray, "N"], annotations: Annotations, findings: Findings, also: str = "") -> None:
    """A finding of these rows, with the first boxes."""
    found = np.flatnonzero(rows)
    for row in found[:3]:
        bbox = [round(float(number), 4) for number in annotations.bboxes[row]]
        findings.add(code, annotations.place(int(row)), f"{also}{': ' if also else ''}bbox {bbox}")
    if len(found) > 3:
        findings.add(code, "", "", len(found) - 3)


def _check_edges(
    annotations: Annotations,
    fine: Bool[np.ndarray, "N"],
    heights: Float64[np.ndarray, "N"],
    widths: Float64[np.ndarray, "N"],
    findings: Findings,
) -> None:
    x, y, width, height = annotations.bboxes.T
    outside = (x >= widths) | (y >= heights) | (x + width <= 0) | (y + height <= 0)
    past = (x < -PAST_EDGE_PIXELS) | (y < -PAST_EDGE_PIXELS)
    past |= (x + width > widths + PAST_EDGE_PIXELS) | (y + height > heights + PAST_EDGE_PIXELS)
    whole = (x <= SAME_SIZE_PIXELS) & (y <= SAME_SIZE_PIXELS)
    whole &= (x + width >= widths - SAME_SIZE_PIXELS) & (y + height >= heights - SAME_SIZE_PIXELS)
    _add("box-outside-image", fine & outside, annotations, findings)
    _add("box-past-edge", fine & past & ~outside, annotations, findings)
    _add("box-is-whole-image", fine & whole & ~annotations.crowds, annotations, findings)


def _check_learnable(
    annotations: Annotations,
    fine: Bool[np.ndarray, "N"],
    heights: Float64[np.ndarray, "N"],
    widths: Float64[np.ndarray, "N"],
    image_size: int,
    findings: Findings,
) -> None:
    longer = np.fmax(np.fmax(heights, widths), 1)
    scale = np.where(np.isfinite(longer), image_size / longer, 1.0)  # of the letterbox; unknown sizes as they are
    shorter_side = annotations.bboxes[:, 2:].min(axis=1, initial=np.inf) * scale
    _add("tiny-box", fine & ~annotations.crowds & (shorter_side < TINY_PIXELS), annotations, findings)


def _check_areas(annotations: Annotations, fine: Bool[np.ndarray, "N"], findings: Findings) -> None:
    product = np.prod(annotations.bboxes[:, 2:], axis=1)
    _add("zero-area", fine & (annotations.areas == 0), annotations, findings)
    _add("area-exceeds-box", fine & (annotations.areas > product * _AREA_SLACK + 1), annotations, findings)


def _swapped_sizes(annotations: Annotations, images: Images, measured: Bool[np.ndarray, "M"]) -> Int64[np.ndarray, "S"]:
    """Images that nobody measured whose boxes all fit with height and width swapped, and some by far not as it is."""
    rows = np.flatnonzero(annotations.usable & (annotations.image_indices >= 0))
    index = annotations.image_indices[rows]
    right = np.zeros(len(images))
    bottom = np.zeros(len(images))
    np.maximum.at(right, index, annotations.bboxes[rows, 0] + annotations.bboxes[rows, 2])
    np.maximum.at(bottom, index, annotations.bboxes[rows, 1] + annotations.bboxes[rows, 3])
    known = (images.heights > 0) & ~measured
    much = (right > images.widths * _MUCH_PAST_EDGE) | (bottom > images.heights * _MUCH_PAST_EDGE)
    fits = (right <= images.heights + 2) & (bottom <= images.widths + 2)
    return np.flatnonzero(known & much & fits).astype(np.int64)


def _find_duplicates(annotations: Annotations, findings: Findings) -> None:
    rows = np.flatnonzero(annotations.usable & (annotations.image_indices >= 0) & (annotations.labels >= 0))
    keys = np.column_stack([annotations.image_indices[rows], annotations.labels[rows], annotations.bboxes[rows]])
    order = np.lexsort(keys.T)  # stable: of equal boxes the first in the file comes first
    again = np.zeros(len(annotations), np.bool_)
    again[rows[order[1:]]] = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    _add("duplicate-box", again, annotations, findings)


def boxes_per_image(annotations: Annotations, images: Images) -> Int64[np.ndarray, "M"]:
    known = annotations.image_indices[annotations.image_indices >= 0]
    return np.bincount(known, minlength=len(images)).astype(np.int64)


def _find_crowded(annotations: Annotations, images: Images, findings: Findings) -> None:
    counts = boxes_per_image(annotations, images)
    for at in np.flatnonzero(counts > CROWDED):
        findings.add("crowded-image", images.place(int(at)), f"{counts[at]} boxes")
