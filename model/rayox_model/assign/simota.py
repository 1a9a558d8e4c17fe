"""SimOTA over a whole batch at once: YOLOX (arXiv:2107.08430) Sec. 2.1, after OTA (arXiv:2103.14259) Sec. 3.

B images, K anchor points, C classes, N boxes of a whole batch, M candidates of a whole batch, U candidates of the
image with most, P positives. No tensor is larger than [N, U] or [M, C]: never boxes × anchor points × classes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from rayox_model.assign.assignment import Assignment, empty_assignment, take_points
from rayox_model.assign.candidates import (
    Candidates,
    Points,
    candidates_of,
    mark_candidates,
    own_candidates,
    points_of,
)
from rayox_model.assign.matcher import match, smallest
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.boxes import Extents, decode_cxcywh, extents_cxcywh, extents_iou, xyxy_to_cxcywh
from rayox_model.core.structures import AnchorPoints, Predictions, Targets


class Pairs(NamedTuple):
    """Every box against every candidate of its image."""

    cost: Float32[Tensor, "N U"]  # infinite in the padding, or NaN, which means the same to the matcher
    iou: Float32[Tensor, "N U"]  # 0 in the padding


@torch.no_grad()
def simota(predictions: Predictions, anchors: AnchorPoints, targets: Targets, settings: SimOTA) -> Assignment:
    """Give every box its k cheapest candidates, k chosen per box from how well it is predicted already.

    In fp32 whatever the predictions are. Images without boxes, and a batch whose boxes have no anchor point near, get
    no positives.
    """
    device, num_images = targets.boxes.device, len(predictions.objectness)
    if not len(targets.boxes):
        return empty_assignment(device)
    with torch.autocast(device.type, enabled=False):
        boxes = xyxy_to_cxcywh(targets.boxes)
        candidates = candidates_of(mark_candidates(boxes, targets.image_index, num_images, anchors, settings))
        if not len(candidates.flat_index):
            return empty_assignment(device)
        pairs = simota_pairs(predictions, anchors, targets, candidates, settings)
        image_starts = torch.searchsorted(targets.image_index, torch.arange(num_images + 1, device=device))
        box, column = match(pairs.cost, dynamic_k(pairs.iou, settings.top_k), settings.top_k, image_starts)
        image = targets.image_index[box]
        anchor = candidates.anchor_index[candidates.position[image, column]]
        return Assignment(image, anchor, box, pairs.iou[box, column])


def simota_pairs(
    predictions: Predictions, anchors: AnchorPoints, targets: Targets, candidates: Candidates, settings: SimOTA
) -> Pairs:
    """SimOTA's cost: classification, IoU and a large constant for candidates that are not a box's own."""
    boxes = xyxy_to_cxcywh(targets.boxes)[:, None]  # [N, 1, 4]
    scores = joint_scores(predictions, candidates)  # [M, C]
    table = candidate_table(predictions, anchors, candidates, scores).index_select(1, targets.image_index)
    predicted, points, no_class = Extents(*table[:5]), Points(*table[5:8]), table[8]  # planes of [N, U]
    overlap = extents_iou(extents_cxcywh(boxes), predicted)
    cost = own_class(scores, candidates.position.index_select(0, targets.image_index), targets.labels)
    cost.add_(no_class).mul_(settings.class_cost_weight)
    cost.sub_(overlap.add(1e-8).log_().mul_(settings.iou_cost_weight))
    own = own_candidates(points, boxes, settings)
    return Pairs(torch.where(own, cost, cost + settings.outside_cost), overlap)


def candidate_table(
    predictions: Predictions, anchors: AnchorPoints, candidates: Candidates, scores: Float32[Tensor, "M C"]
) -> Float32[Tensor, "9 B U"]:
    """What the boxes of an image need of its candidates: the predicted extents, where they are, what no class costs.

    The padding is a box beside everything, which costs infinitely much.
    """
    grid = anchors.grid.index_select(0, candidates.anchor_index)
    strides = anchors.strides.index_select(0, candidates.anchor_index)
    regression = take_points(predictions.regression, candidates.flat_index).float()  # [M, 4]
    predicted = extents_cxcywh(decode_cxcywh(regression, grid, strides))
    points = points_of(AnchorPoints(anchors.levels, grid, strides))
    no_class = (1 - scores).log_().clamp_(min=-100).sum(dim=1).neg_()  # [M]
    table = torch.stack((*predicted, *points, no_class)).index_select(1, candidates.position.flatten())
    table = table.view(-1, *candidates.position.shape)
    table[2].masked_fill_(~candidates.valid, -torch.inf)  # x2
    table[8].masked_fill_(~candidates.valid, torch.inf)
    return table


def joint_scores(predictions: Predictions, candidates: Candidates) -> Float32[Tensor, "M C"]:
    """√(σ(class)·σ(objectness)) of the candidates."""
    class_logits = take_points(predictions.class_logits, candidates.flat_index).float()  # [M, C]
    objectness = take_points(predictions.objectness, candidates.flat_index).float()  # [M]
    return class_logits.sigmoid_().mul_(objectness.sigmoid_()[:, None]).sqrt_()


def own_class(
    scores: Float32[Tensor, "M C"], position: Int64[Tensor, "N U"], labels: Int64[Tensor, "N"]
) -> Float32[Tensor, "N U"]:
    """What changes in a candidate's cross-entropy when the box's class is wanted: −log p + log(1 − p).

    Both logarithms end at −100, as in torch's binary cross-entropy.
    """
    index = position * scores.shape[1] + labels[:, None]
    score = scores.flatten().index_select(0, index.flatten()).view_as(index)
    return (1 - score).div_(score).log_().clamp_(-100, 100)


def dynamic_k(overlap: Float32[Tensor, "N U"], top_k: int) -> Int64[Tensor, "N"]:
    """How many anchor points each box takes: the sum of its best IoUs, whole and at least 1.

    OTA (arXiv:2103.14259) Sec. 3.3.
    """
    best = smallest(-overlap, top_k).neg().clamp(min=0)  # [N, top_k]
    return best.sum(dim=1).long().clamp(1, top_k)
