"""Evaluation by all ranks of a training run: every image once, on one rank."""

import torch
import torch.distributed as dist

from rayox_model.detect import TorchDetector
from rayox_model.engine import EngineSettings
from rayox_model.samples import Detections
from rayox_model.yolox import YOLOX
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluation import EvaluationSettings, detect_images
from rayox_platform.metrics import CocoScores, coco_metrics


def evaluate_together(
    averaged: YOLOX,
    images: CocoImages,
    settings: EvaluationSettings,
    engine: EngineSettings,
    device: torch.device,
) -> CocoScores | None:
    """The COCO metrics of rank 0's averaged model, computed on rank 0; None on the other ranks.

    Rank r takes every W-th image from r on.
    """
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    if world_size > 1:
        _broadcast_buffers(averaged)
    detector = TorchDetector(averaged, images.dataset.classes, engine.image_size, device, engine.precision)
    found = detect_images(detector, images, range(rank, len(images), world_size), settings)
    parts: list[dict[int, Detections] | None] = [None] * world_size
    if world_size > 1:
        dist.gather_object(found, parts if rank == 0 else None)
    else:
        parts = [found]
    if rank != 0:
        return None
    return coco_metrics(images.dataset, {index: one for part in parts if part for index, one in part.items()})


def _broadcast_buffers(averaged: YOLOX) -> None:
    """Parameters are equal on all ranks; batch-norm statistics are each rank's own, and rank 0's count."""
    for buffer in averaged.buffers():
        dist.broadcast(buffer, 0)
