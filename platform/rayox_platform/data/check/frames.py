"""Boxes written in another form than COCO's [x, y, width, height] in pixels: corners, centers or fractions.

Told from the whole file: a box on its own may be right in several forms. N boxes.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

Form = Literal["corners", "centers", "fractions", "unknown"]

_SLACK_PIXELS = 2.0  # so far past the edge is careless drawing
_SHARE_LEAVING = 0.2  # of the boxes leave their image when read as COCO's
_SHARE_LEAVING_CENTERS = 0.1  # fewer do: the size itself is right
_SHARE_VALID = 0.95  # of the boxes are right in the other form
_MANY_LEAVING = 5
_AREA_TOLERANCE = 0.02
_SLACK_FRACTION = 0.002


class OtherForm(NamedTuple):
    form: Form
    rows: Bool[np.ndarray, "N"]  # the boxes that look so
    detail: str


def other_form(
    bboxes: Float64[np.ndarray, "N 4"],
    heights: Float64[np.ndarray, "N"],
    widths: Float64[np.ndarray, "N"],
    areas: Float64[np.ndarray, "N"],
) -> OtherForm | None:
    """The form most boxes are in, if it is not COCO's; sizes are those of each box's image, NaN where unknown.

    Boxes with NaN are left out.
    """
    finite = np.isfinite(bboxes).all(axis=1)
    fractions = finite & _are_fractions(bboxes, heights, widths)
    if fractions.any():
        return OtherForm("fractions", fractions, f"{fractions.sum()} of {finite.sum()} boxes lie between 0 and 1")
    sized = finite & np.isfinite(heights)
    if not sized.any():
        return None
    leaving = _leaving(_as_corners(bboxes), heights, widths) & sized
    share = leaving.sum() / sized.sum()
    detail = f"read as COCO's, {share:.0%} of the boxes leave their image"
    corners = ~_leaving(bboxes, heights, widths) & (bboxes[:, 2:] > bboxes[:, :2]).all(axis=1) & sized
    if _most(corners, sized) and (share > _SHARE_LEAVING or _areas_say_corners(bboxes[sized], areas[sized])):
        return OtherForm("corners", corners, detail)
    centers = ~_leaving(centers_as_corners(bboxes), heights, widths) & (bboxes[:, 2:] > 0).all(axis=1) & sized
    if _most(centers, sized) and share > _SHARE_LEAVING_CENTERS and leaving.sum() >= _MANY_LEAVING:
        return OtherForm("centers", centers, detail)
    if share > _SHARE_LEAVING and leaving.sum() >= _MANY_LEAVING:
        return OtherForm("unknown", leaving, detail)
    return None


def _most(rows: Bool[np.ndarray, "N"], of: Bool[np.ndarray, "N"]) -> bool:
    return bool(rows.sum() >= _SHARE_VALID * of.sum())


def _are_fractions(
    bboxes: Float64[np.ndarray, "N 4"], heights: Float64[np.ndarray, "N"], widths: Float64[np.ndarray, "N"]
) -> Bool[np.ndarray, "N"]:
    """Within the first pixel of an image that has more than one: nobody draws that."""
    unit = ((bboxes >= 0) & (bboxes <= 1)).all(axis=1) & (bboxes[:, 2:] > 0).all(axis=1)
    return np.asarray(unit & ~((heights < 2) | (widths < 2)))


def _areas_say_corners(bboxes: Float64[np.ndarray, "N 4"], areas: Float64[np.ndarray, "N"]) -> bool:
    """An area that is the corners' exactly, and not width × height."""
    known = areas > 0
    between = np.prod(bboxes[known, 2:] - bboxes[known, :2], axis=1)
    product = np.prod(bboxes[known, 2:], axis=1)
    fits = (np.abs(between / areas[known] - 1) < _AREA_TOLERANCE) & (product > areas[known] * (1 + _AREA_TOLERANCE))
    return bool(known.any() and fits.mean() >= _SHARE_VALID)


def _as_corners(bboxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
    return np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], axis=1)


def centers_as_corners(bboxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
    return np.concatenate([bboxes[:, :2] - bboxes[:, 2:] / 2, bboxes[:, :2] + bboxes[:, 2:] / 2], axis=1)


def _leaving(
    corners: Float64[np.ndarray, "N 4"], heights: Float64[np.ndarray, "N"], widths: Float64[np.ndarray, "N"]
) -> Bool[np.ndarray, "N"]:
    low = (corners[:, :2] < -_SLACK_PIXELS).any(axis=1)
    return np.asarray(low | (corners[:, 2] > widths + _SLACK_PIXELS) | (corners[:, 3] > heights + _SLACK_PIXELS))


def fractions_as_xywh(bboxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"] | None:
    """Fractions as [x, y, width, height], still fractions; None where no form fits all.

    COCO's own layout is taken first, then YOLO's centers, then corners.
    """
    low, high = bboxes[:, :2], bboxes[:, 2:]
    if (low + high <= 1 + _SLACK_FRACTION).all():
        return bboxes
    corners = centers_as_corners(bboxes)
    if (corners >= -_SLACK_FRACTION).all() and (corners <= 1 + _SLACK_FRACTION).all():
        return np.concatenate([corners[:, :2], high], axis=1)
    if (high > low).all():
        return np.concatenate([low, high - low], axis=1)
    return None
