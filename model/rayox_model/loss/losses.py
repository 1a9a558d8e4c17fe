"""YOLOX's training loss (arXiv:2107.08430, Sec. 2.1): IoU, objectness, classification and, late in training, L1.

B images, K anchor points, C classes, P positives, N boxes of a whole batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from rayox_model.assign.assignment import Assignment, take_points
from rayox_model.core.boxes import decode_cxcywh, extents_cxcywh, extents_iou, xyxy_to_cxcywh
from rayox_model.core.structures import AnchorPoints, Predictions, Targets
from rayox_model.loss.loss_weights import LossWeights


class LossTerms(NamedTuple):
    """The weighted terms and their sum, scalars; only `total` is meant for backward."""

    total: Float32[Tensor, ""]
    iou: Float32[Tensor, ""]
    objectness: Float32[Tensor, ""]
    classification: Float32[Tensor, ""]
    l1: Float32[Tensor, ""]  # 0 without L1
    num_positives: Float32[Tensor, ""]
    num_boxes: Float32[Tensor, ""]


def divided(sums: LossTerms, divisor: Float32[Tensor, ""]) -> LossTerms:
    """Divide every term, not the counts."""
    total, iou, objectness, classification, l1 = (term / divisor for term in sums[:5])
    return LossTerms(total, iou, objectness, classification, l1, sums.num_positives, sums.num_boxes)


def added(parts: Sequence[LossTerms]) -> LossTerms:
    """The sums, and the counts, of the parts of a batch together; without gradient."""
    return LossTerms(*(torch.stack(terms).sum(0).detach() for terms in zip(*parts, strict=True)))


def loss_sums(
    predictions: Predictions,
    anchors: AnchorPoints,
    targets: Targets,
    assignment: Assignment,
    weights: LossWeights,
    with_l1: bool,
) -> LossTerms:
    """The weighted terms summed over the batch, not yet divided by anything; in fp32 whatever the predictions are."""
    anchor, box = assignment.anchor_index, assignment.box_index
    index = assignment.image_index * len(anchors.grid) + anchor
    with torch.autocast(targets.boxes.device.type, enabled=False):
        regression = take_points(predictions.regression, index).float()  # [P, 4]
        boxes = xyxy_to_cxcywh(targets.boxes).index_select(0, box)
        grid, strides = anchors.grid.index_select(0, anchor), anchors.strides.index_select(0, anchor)
        iou = weights.iou * iou_sum(decode_cxcywh(regression, grid, strides), boxes)
        objectness = weights.objectness * objectness_sum(predictions.objectness.float().flatten(), index)
        class_logits = take_points(predictions.class_logits, index).float()  # [P, C]
        classification = weights.classification * classification_sum(
            class_logits, targets.labels.index_select(0, box), assignment.iou
        )
        l1 = iou.new_zeros(())
        if with_l1:
            l1 = weights.l1 * (regression - l1_targets(boxes, grid, strides)).abs().sum()
    counts = torch.tensor([len(box), len(targets.boxes)], dtype=torch.float32, device=iou.device)
    return LossTerms(iou + objectness + classification + l1, iou, objectness, classification, l1, *counts)


def iou_sum(boxes_cxcywh: Float32[Tensor, "P 4"], matched_cxcywh: Float32[Tensor, "P 4"]) -> Float32[Tensor, ""]:
    """Σ 1 − IoU² of predicted boxes and theirs."""
    return (1 - extents_iou(extents_cxcywh(boxes_cxcywh), extents_cxcywh(matched_cxcywh)).square()).sum()


def objectness_sum(objectness: Float32[Tensor, "B_times_K"], positives: Int64[Tensor, "P"]) -> Float32[Tensor, ""]:
    """Σ cross-entropy over all anchor points: 1 at the positives, 0 elsewhere."""
    wanted = torch.zeros_like(objectness).index_fill_(0, positives, 1.0)
    return F.binary_cross_entropy_with_logits(objectness, wanted, reduction="sum")


def classification_sum(
    class_logits: Float32[Tensor, "P C"], labels: Int64[Tensor, "P"], iou: Float32[Tensor, "P"]
) -> Float32[Tensor, ""]:
    """Σ cross-entropy over positives and classes; the wanted score of the right class is the IoU, not 1."""
    wanted = torch.zeros_like(class_logits).scatter_(1, labels[:, None], iou[:, None])
    return F.binary_cross_entropy_with_logits(class_logits, wanted, reduction="sum")


def l1_targets(
    boxes_cxcywh: Float32[Tensor, "P 4"], grid: Float32[Tensor, "P 2"], strides: Float32[Tensor, "P"]
) -> Float32[Tensor, "P 4"]:
    """The raw regression that decodes to the boxes: the inverse of decoding."""
    scaled = boxes_cxcywh / strides[:, None]
    return torch.cat((scaled[:, :2] - grid, (scaled[:, 2:] + 1e-8).log()), dim=1)
