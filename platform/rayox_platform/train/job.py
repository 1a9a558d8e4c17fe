"""All that a training's workers need to know, on whatever node they are; and where its truth is kept.

The newest whole checkpoint of the run is the one truth: the plan of the stream starts at its step and every
worker loads it, whether the run is new (step 0 is a checkpoint too), restarted by Ray or resumed by a user.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from rayox_model.augment.settings import Augment
from rayox_model.checkpoint.snapshot import Facts, restore, take_snapshot
from rayox_model.core.errors import ModelError
from rayox_model.core.plan import StreamPlan
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import EngineSettings, TrainState, new_state
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.evaluation import EvaluationSettings
from rayox_platform.runs.checkpoints import Checkpoints, say_nothing
from rayox_platform.runs.home import RunHome
from rayox_platform.track.lineage import package_versions
from rayox_platform.train.fault_injection import Fault


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    home: RunHome  # of checkpoints and events
    model_size: str
    classes: tuple[str, ...]
    train_images: CocoImages
    val_images: CocoImages
    plan: StreamPlan
    augment: Augment
    engine: EngineSettings
    evaluation: EvaluationSettings
    evaluate_every: int  # epochs
    checkpoint_every: int  # steps; 0: not by steps
    checkpoint_minutes: float  # 0: not by time
    keep: int
    max_failures: int
    spares: bool
    timeout_seconds: float  # for a worker to be heard of by the others
    resize_seconds: float  # between two looks for machines to grow onto
    max_bad_images: float  # see check_broken
    config: dict[str, Any]
    faults: tuple[Fault, ...] = ()  # of a drill

    @property
    def checkpoints(self) -> Checkpoints:
        return self.home.checkpoints


def start_run(job: TrainJob, model: YOLOX) -> None:
    """Write the run's first checkpoint: the weights it starts from, at step 0."""
    state = new_state(model, job.engine, torch.device("cpu"))
    job.checkpoints.write(take_snapshot(state, facts_of(job, state, epoch=0, metrics={})))


def extend_run(job: TrainJob, network: YOLOX) -> None:
    """Write the settings of a longer run into the newest checkpoint, which is then that of an unfinished run.

    All that is derived from the number of epochs is the longer run's from here on: learning rate, closing epochs, the
    ramp of the average. network is only a place for the weights.
    """
    state = new_state(network, job.engine, torch.device("cpu"))
    facts = restore(job.checkpoints.fetch(newest(job)), state)
    longer = replace(facts, config=job.config, stream=job.plan.position(facts.step))
    job.checkpoints.write(take_snapshot(state, longer))


def newest(job: TrainJob, tell: Callable[[str], None] = say_nothing) -> str:
    """The name of the newest whole checkpoint (see step_of); tell is told of those passed over. Raises ModelError."""
    name = job.checkpoints.newest(tell)
    if name is None:
        raise ModelError(f"{job.checkpoints}: no whole checkpoint", "start the run again under another name")
    return name


def facts_of(job: TrainJob, state: TrainState, epoch: int, metrics: dict[str, float]) -> Facts:
    return Facts(
        size=job.model_size,
        classes=job.classes,
        image_size=job.engine.image_size,
        step=state.step,
        epoch=epoch,
        config=job.config,
        metrics=metrics,
        stream=job.plan.position(state.step),
        versions=package_versions(),
    )
