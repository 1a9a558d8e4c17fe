"""What all ranks of a training do together: evaluate every image once, on one rank; agree on the weights."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn

from rayox_model.core.errors import TrainingError
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import TorchDetector
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine_settings import EngineSettings
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.evaluation import EvaluationSettings, detect_images
from rayox_platform.evaluate.metrics import CocoScores, coco_metrics
from rayox_platform.evaluate.operating import Operating, choose_thresholds

T = TypeVar("T")


class Agreement:
    """What rank 0 says after a step, known to every rank before the next one."""

    def __init__(self, timeout_seconds: float) -> None:
        """Every rank has to make one. On GPUs it has a group of its own, so that no rank waits for its device."""
        self._alone = not dist.is_initialized() or dist.get_world_size() == 1
        self._group: Any = None  # the default one
        if not self._alone and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def __call__(self, mine: bool) -> bool:
        """Rank 0's answer, on every rank; each has to ask once a step."""
        if self._alone:
            return mine
        answer = torch.tensor([int(mine)])
        dist.broadcast(answer, 0, group=self._group)
        return bool(answer)


class Evaluated(NamedTuple):
    """What rank 0 has of an evaluation."""

    scores: CocoScores
    detections: Mapping[int, Detections]  # of all ranks, by image index
    detector: TorchDetector
    operating: Operating


def evaluate_together(
    averaged: YOLOX,
    images: CocoImages,
    settings: EvaluationSettings,
    engine: EngineSettings,
    device: torch.device,
) -> Evaluated | None:
    """Detections and COCO metrics of rank 0's averaged model, computed on rank 0; None on the other ranks.

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
    detections = {index: one for part in parts if part for index, one in part.items()}
    scores, operating = coco_metrics(images.dataset, detections), choose_thresholds(images.dataset, detections)
    return Evaluated(scores, detections, detector, operating)


def check_equal_weights(model: nn.Module, step: int) -> str:
    """A digest of the parameters, the same on all ranks; raises TrainingError when a rank has drifted away."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    mine = digest.hexdigest()[:16]
    all_of_them = gathered(mine)
    if len(set(all_of_them)) > 1:
        raise TrainingError(
            f"after step {step} the ranks' weights differ: {', '.join(all_of_them)}",
            "resume from an earlier checkpoint with --resume; please report it if it happens again",
        )
    return mine


def gathered(mine: T) -> list[T]:
    """What each rank has, on every rank, in their order."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [mine]
    parts: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, mine)
    return cast(list[T], parts)


def broadcast(mine: T) -> T:
    """What rank 0 has, on every rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    box = [mine]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _broadcast_buffers(averaged: YOLOX) -> None:
    """Parameters are equal on all ranks; batch-norm statistics are each rank's own, and rank 0's count."""
    for buffer in averaged.buffers():
        dist.broadcast(buffer, 0)
