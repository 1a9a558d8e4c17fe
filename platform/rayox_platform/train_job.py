"""All that a training's workers need to know, on whatever node they are; and where its truth is kept.

The newest whole checkpoint in the run's folder is the one truth: the plan of the stream starts at its step and every
worker loads it, whether the run is new (step 0 is a checkpoint too), restarted by Ray or resumed by a user.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rayox_model.augment.settings import Augment
from rayox_model.checkpoint import Facts, newest_checkpoint, save_checkpoint
from rayox_model.engine import EngineSettings, TrainState, new_state
from rayox_model.errors import ModelError
from rayox_model.plan import StreamPlan
from rayox_model.yolox import YOLOX
from rayox_platform.data.images import CocoImages
from rayox_platform.drill import Kill
from rayox_platform.evaluation import EvaluationSettings


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    folder: Path  # of the run: checkpoints, events
    model_size: str
    classes: tuple[str, ...]
    train_images: CocoImages
    val_images: CocoImages
    plan: StreamPlan
    augment: Augment
    engine: EngineSettings
    evaluation: EvaluationSettings
    evaluate_every: int  # epochs
    checkpoint_every: int  # steps; 0: at the ends of epochs only
    keep: int
    max_failures: int
    max_bad_images: float  # see check_broken
    config: dict[str, Any]
    kills: tuple[Kill, ...] = ()  # of a drill

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def start_run(job: TrainJob, model: YOLOX) -> Path:
    """Make the run's folder with its first checkpoint: the weights it starts from, at step 0."""
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    state = new_state(model, job.engine, torch.device("cpu"))
    return save_checkpoint(job.checkpoints, state, facts_of(job, state, epoch=0, metrics={}))


def newest(job: TrainJob) -> tuple[Path, int]:
    """The newest whole checkpoint and the steps it has behind it. Raises ModelError."""
    folder = newest_checkpoint(job.checkpoints)
    if folder is None:
        raise ModelError(f"{job.checkpoints}: no whole checkpoint", "start the run again under another name")
    return folder, int(folder.name.removeprefix("step-"))


def facts_of(job: TrainJob, state: TrainState, epoch: int, metrics: dict[str, float]) -> Facts:
    return Facts(
        size=job.model_size,
        classes=job.classes,
        image_size=job.engine.image_size,
        step=state.step,
        epoch=epoch,
        config=job.config,
        metrics=metrics,
    )
