"""From scored boxes to detections: threshold, then class-aware non-maximum suppression.

B images, K anchor points, C classes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from rayox_model.core.samples import Detections


class ScoredBoxes(NamedTuple):
    """Every anchor point's box with its best class, before anything is left out."""

    boxes: Float32[Tensor, "B K 4"]
    scores: Float32[Tensor, "B K"]  # objectness · probability of the best class
    labels: Int64[Tensor, "B K"]


def score_boxes(
    boxes: Float32[Tensor, "B K 4"],
    objectness: Float[Tensor, "B K"],
    class_probabilities: Float[Tensor, "B K C"],
) -> ScoredBoxes:
    """Score every box by objectness times its best class; both are probabilities, not logits."""
    best, labels = class_probabilities.float().max(dim=-1)  # [B, K]
    return ScoredBoxes(boxes, objectness.float() * best, labels)


def non_max_suppression(
    candidates: ScoredBoxes, score_threshold: float, nms_threshold: float, max_detections: int | None = None
) -> list[Detections]:
    """Keep boxes scoring at least `score_threshold`, of overlapping ones of a class (IoU > `nms_threshold`) the best.

    One Detections per image, highest score first, at most `max_detections` of them (None: all). An image in which
    nothing scores gets empty arrays. A box that is not finite, as from a diverging network, is dropped.
    """
    images = zip(*candidates, strict=True)
    return [_one_image(*image, score_threshold, nms_threshold, max_detections) for image in images]


def _one_image(
    boxes: Float32[Tensor, "K 4"],
    scores: Float32[Tensor, "K"],
    labels: Int64[Tensor, "K"],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int | None,
) -> Detections:
    from torchvision.ops import batched_nms  # takes seconds, for which a training should not wait before its first step

    kept = torch.nonzero((scores >= score_threshold) & boxes.isfinite().all(dim=1)).squeeze(1)
    best_first = batched_nms(boxes[kept], scores[kept], labels[kept], nms_threshold)
    kept = kept[best_first[:max_detections]]
    return Detections(boxes[kept].cpu().numpy(), scores[kept].cpu().numpy(), labels[kept].cpu().numpy())
