"""Which anchor points of an image SimOTA considers at all, and which of them belong to which box.

B images, K anchor points, N boxes of a whole batch, M candidates of a whole batch, U candidates of the image with
most, L levels, W cells on a side of a box's search window. "Near" and "inside" are strict.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.structures import AnchorPoints, Level


class Points(NamedTuple):
    """Anchor points in pixels of the input, as separate planes of any one shape."""

    x: Float32[Tensor, "..."]
    y: Float32[Tensor, "..."]
    stride: Float32[Tensor, "..."]


class Candidates(NamedTuple):
    """The candidates of every image, flat, by image and then anchor point; and the same as a padded table."""

    flat_index: Int64[Tensor, "M"]  # image_index · K + anchor_index
    anchor_index: Int64[Tensor, "M"]
    position: Int64[Tensor, "B U"]  # in the flat lists; 0 where not valid
    valid: Bool[Tensor, "B U"]


def candidates_of(marked: Bool[Tensor, "B K"]) -> Candidates:
    """List the marked anchor points; M and U may be 0."""
    flat_index = marked.flatten().nonzero().squeeze(1)
    counts = marked.sum(dim=1)
    columns = torch.arange(int(counts.max()), device=marked.device)
    valid = columns < counts[:, None]
    first = counts.cumsum(0) - counts
    return Candidates(flat_index, flat_index % marked.shape[1], torch.where(valid, first[:, None] + columns, 0), valid)


def points_of(anchors: AnchorPoints) -> Points:
    """The middle of each cell."""
    x, y = ((anchors.grid + 0.5) * anchors.strides[:, None]).unbind(-1)
    return Points(x, y, anchors.strides)


def mark_candidates(
    boxes_cxcywh: Float32[Tensor, "N 4"],
    image_index: Int64[Tensor, "N"],
    num_images: int,
    anchors: AnchorPoints,
    settings: SimOTA,
) -> Bool[Tensor, "B K"]:
    """The anchor points of each image that are a candidate of any of its boxes."""
    if settings.candidates == "center":
        return mark_near_centers(boxes_cxcywh, image_index, num_images, anchors, settings.center_radius)
    points, boxes = points_of(anchors), boxes_cxcywh[:, None]  # [K], [N, 1, 4]
    near = in_boxes(points, boxes) | near_centers(points, boxes, settings.center_radius)  # [N, K]
    counts = near.new_zeros((num_images, near.shape[1]), dtype=torch.float32)
    return counts.index_add_(0, image_index, near.float()) > 0


def own_candidates(points: Points, boxes_cxcywh: Float32[Tensor, "N 1 4"], settings: SimOTA) -> Bool[Tensor, "N U"]:
    """Which anchor points [N, U] belong to a box itself: near its centre, and for the older rule inside it too."""
    near = near_centers(points, boxes_cxcywh, settings.center_radius)
    return near if settings.candidates == "center" else near & in_boxes(points, boxes_cxcywh)


def near_centers(points: Points, boxes_cxcywh: Float32[Tensor, "... 4"], radius: float) -> Bool[Tensor, "..."]:
    """Whether each point is less than radius·stride from the box's centre on both axes; leading shapes broadcast."""
    cx, cy, _, _ = boxes_cxcywh.unbind(-1)
    reach = points.stride * radius
    return _within(points.x, cx, reach) & _within(points.y, cy, reach)


def in_boxes(points: Points, boxes_cxcywh: Float32[Tensor, "... 4"]) -> Bool[Tensor, "..."]:
    """Whether each point is inside the box; leading shapes broadcast."""
    cx, cy, w, h = boxes_cxcywh.unbind(-1)
    return _within(points.x, cx, w / 2) & _within(points.y, cy, h / 2)


def _within(
    x: Float32[Tensor, "..."], center: Float32[Tensor, "..."], reach: Float32[Tensor, "..."] | float
) -> Bool[Tensor, "..."]:
    """|x − center| < reach, rounded as the official code does: at the very edge that decides."""
    return (x > center - reach) & (x < center + reach)


def mark_near_centers(
    boxes_cxcywh: Float32[Tensor, "N 4"],
    image_index: Int64[Tensor, "N"],
    num_images: int,
    anchors: AnchorPoints,
    radius: float,
) -> Bool[Tensor, "B K"]:
    """In closed form: on every level only the W × W cells around each centre are looked at, never N × K."""
    num_anchors = len(anchors.grid)
    start, height, width, stride = _level_table(anchors.levels, boxes_cxcywh.device).unbind(1)  # each [L, 1]
    column, near_x = _near_cells(boxes_cxcywh[:, 0], width, stride, radius)  # [N, L, W]
    row, near_y = _near_cells(boxes_cxcywh[:, 1], height, stride, radius)
    row_start = row * width + start + image_index[:, None, None] * num_anchors
    cells = row_start[..., None] + column[..., None, :]  # [N, L, W, W]
    nowhere = num_images * num_anchors  # a spare place takes the writes of cells that are not near
    cells = cells.where(near_y[..., None] & near_x[..., None, :], nowhere)
    marked = torch.zeros(nowhere + 1, dtype=torch.bool, device=boxes_cxcywh.device)
    return marked.index_fill_(0, cells.flatten(), True)[:nowhere].view(num_images, num_anchors)


def _near_cells(
    center: Float32[Tensor, "N"], num_cells: Int64[Tensor, "L 1"], stride: Int64[Tensor, "L 1"], radius: float
) -> tuple[Int64[Tensor, "N L W"], Bool[Tensor, "N L W"]]:
    """On one axis: the cells around each box's centre, and which of them are on the grid and near it.

    The window is one cell wider than can be near, so that rounding its start loses none.
    """
    window = torch.arange(math.floor(2 * radius) + 2, device=center.device)  # [W]
    center = center[:, None, None]
    first = (center / stride - (0.5 + radius)).clamp(-len(window), int(1e6)).floor()  # far boxes must fit an integer
    cells = first.long() + window
    near = _within((cells + 0.5) * stride, center, stride * radius)
    return cells, near & (cells >= 0) & (cells < num_cells)


@lru_cache(maxsize=64)
def _level_table(levels: tuple[Level, ...], device: torch.device) -> Int64[Tensor, "L 4 1"]:
    """First anchor point, height, width and stride of each level."""
    sizes = [level.height * level.width for level in levels]
    rows = [(sum(sizes[:i]), *level) for i, level in enumerate(levels)]
    return torch.tensor(rows, device=device)[..., None]
