"""FCOS's assignment over a whole batch: arXiv:1904.01355, Sec. 3.2 (levels) and 4.1.3 (centre sampling).

B images, K anchor points, N boxes of a whole batch, U candidates of the image with most, L levels, P positives.
"""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from rayox_model.assign.assignment import Assignment, empty_assignment, take_points
from rayox_model.assign.candidates import (
    Candidates,
    Points,
    candidates_of,
    in_boxes,
    mark_near_centers,
    near_centers,
    points_of,
)
from rayox_model.assign.fcos_settings import FCOS
from rayox_model.core.boxes import decode_cxcywh, extents_cxcywh, extents_iou, xyxy_to_cxcywh
from rayox_model.core.structures import AnchorPoints, Predictions, Targets


@torch.no_grad()
def fcos(predictions: Predictions, anchors: AnchorPoints, targets: Targets, settings: FCOS) -> Assignment:
    """Give every box the anchor points inside it, near its centre, of the level that its size belongs to.

    An anchor point that several boxes want goes to the smallest, of equal ones to the first. What the network predicts
    plays no part, but for the IoU that the classification learns. A box may get none: one smaller than the grid around
    it, or whose points all went to smaller boxes.
    """
    device, num_images = targets.boxes.device, len(predictions.objectness)
    if not len(targets.boxes):
        return empty_assignment(device)
    with torch.autocast(device.type, enabled=False):
        boxes = xyxy_to_cxcywh(targets.boxes)
        marked = mark_near_centers(boxes, targets.image_index, num_images, anchors, settings.center_radius)
        candidates = candidates_of(marked)
        if not len(candidates.flat_index):
            return empty_assignment(device)
        own = _own(boxes, targets.image_index, anchors, candidates, settings)
        image, column, box = _smallest_box(own, boxes[:, 2] * boxes[:, 3], targets.image_index, num_images)
        place = candidates.position[image, column]
        anchor = candidates.anchor_index[place]
        regression = take_points(predictions.regression, candidates.flat_index[place]).float()
        predicted = decode_cxcywh(regression, anchors.grid[anchor], anchors.strides[anchor])
        overlap = extents_iou(extents_cxcywh(predicted), extents_cxcywh(boxes[box]))
        return Assignment(image, anchor, box, overlap)


def _own(
    boxes: Float32[Tensor, "N 4"],
    image_index: Int64[Tensor, "N"],
    anchors: AnchorPoints,
    candidates: Candidates,
    settings: FCOS,
) -> Bool[Tensor, "N U"]:
    """Which candidates of its image each box may have."""
    position = candidates.position[image_index]  # [N, U]
    anchor = candidates.anchor_index[position]
    points = Points(*(plane[anchor] for plane in points_of(anchors)))
    low, high = (bound[anchor] for bound in _bounds(anchors, settings.level_reach))
    cx, cy, w, h = boxes[:, None].unbind(-1)
    farthest = torch.maximum((points.x - cx).abs() + w / 2, (points.y - cy).abs() + h / 2)  # of the four sides
    inside = near_centers(points, boxes[:, None], settings.center_radius) & in_boxes(points, boxes[:, None])
    return candidates.valid[image_index] & inside & (farthest > low) & (farthest <= high)


def _bounds(anchors: AnchorPoints, reach: float) -> tuple[Float32[Tensor, "K"], Float32[Tensor, "K"]]:
    """How far the farthest side of a box may be from each anchor point, in pixels: more than, and at most."""
    strides = [level.stride for level in anchors.levels]
    low = {stride: reach * before for before, stride in pairwise(strides)} | {strides[0]: 0.0}
    high = {stride: reach * stride for stride in strides[:-1]} | {strides[-1]: torch.inf}
    of_level = [level.height * level.width for level in anchors.levels]
    repeats = torch.tensor(of_level, device=anchors.strides.device)
    planes = (torch.tensor([bound[stride] for stride in strides], device=repeats.device) for bound in (low, high))
    lowest, highest = (plane.repeat_interleave(repeats) for plane in planes)
    return lowest, highest


def _smallest_box(
    own: Bool[Tensor, "N U"], area: Float32[Tensor, "N"], image_index: Int64[Tensor, "N"], num_images: int
) -> tuple[Int64[Tensor, "P"], Int64[Tensor, "P"], Int64[Tensor, "P"]]:
    """(image, column, box) of every candidate that some box may have, by image and then column."""
    index = image_index[:, None].expand_as(own)
    cost = torch.where(own, area[:, None], torch.inf)
    least = cost.new_full((num_images, own.shape[1]), torch.inf).scatter_reduce_(0, index, cost, "amin")  # [B, U]
    number = torch.arange(len(area), device=area.device)[:, None].expand_as(own)
    wins = own & (cost == least[image_index])
    none = len(area)
    first = number.new_full(least.shape, none).scatter_reduce_(0, index, torch.where(wins, number, none), "amin")
    image, column = (first < none).nonzero(as_tuple=True)
    return image, column, first[image, column]
