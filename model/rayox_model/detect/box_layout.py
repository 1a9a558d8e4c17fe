"""The form in which an ONNX file gives its boxes, found from its output for a grey image.

Every form is read back into the head's raw regression: the form under which that is smallest is the file's. K anchor
points.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float32
from torch import Tensor

from rayox_model.core.anchors import decode
from rayox_model.core.structures import AnchorPoints

BoxLayout = Literal["raw", "centers", "corners"]

LARGEST_MEDIAN = 5.0  # of raw numbers: a box 150 strides large, or as far from its anchor point
FOLLOWS_ANCHORS = 0.95  # the correlation with the anchor points' places from which numbers are those of places


def box_layout(numbers: Float32[Tensor, "K 4"], anchors: AnchorPoints) -> BoxLayout | None:
    """raw: as the head gives them; centers: [x, y, width, height], corners: [x1, y1, x2, y2], both in pixels.

    None for what is neither: numbers that are not finite, or places in other units than pixels.
    """
    if not numbers.isfinite().all():
        return None
    sizes = {layout: _typical(_as_raw(numbers, layout, anchors)) for layout in get_args(BoxLayout)}
    best: BoxLayout = min(sizes, key=lambda layout: sizes[layout])
    if sizes[best] > LARGEST_MEDIAN or (best == "raw" and _are_places(numbers, anchors)):
        return None
    return best


def to_corners(numbers: Float32[Tensor, "B K 4"], layout: BoxLayout, anchors: AnchorPoints) -> Float32[Tensor, "B K 4"]:
    """Boxes (xyxy, pixels of the input) of a file's numbers."""
    if layout == "raw":
        return decode(numbers, anchors)
    if layout == "corners":
        return numbers
    half_sizes = numbers[..., 2:] / 2
    return torch.cat((numbers[..., :2] - half_sizes, numbers[..., :2] + half_sizes), dim=-1)


def _as_raw(numbers: Float32[Tensor, "K 4"], layout: BoxLayout, anchors: AnchorPoints) -> Float32[Tensor, "K 4"]:
    """The inverse of decode; NaN where a width or height is not above 0."""
    if layout == "raw":
        return numbers
    corners = to_corners(numbers[None], layout, anchors)[0]
    strides = anchors.strides[:, None]
    centers, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    return torch.cat((centers / strides - anchors.grid, (sizes / strides).log()), dim=1)


def _typical(raw: Float32[Tensor, "K 4"]) -> float:
    """The typical magnitude of places or of sizes, whichever is further from what heads give."""
    if not raw.isfinite().all():
        return float("inf")
    return max(float(part.abs().median()) for part in (raw[:, :2], raw[:, 2:]))


def _are_places(numbers: Float32[Tensor, "K 4"], anchors: AnchorPoints) -> bool:
    places = anchors.grid * anchors.strides[:, None]
    return all(
        float(numbers[:, axis].std()) > 0
        and float(torch.corrcoef(torch.stack((numbers[:, axis], places[:, axis])))[0, 1]) > FOLLOWS_ANCHORS
        for axis in (0, 1)
    )
