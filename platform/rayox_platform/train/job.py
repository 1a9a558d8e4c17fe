"""All that a training's workers need to know, on whatever node they are; and the checkpoint a run begins with.

The latest whole checkpoint of the run is the one truth: the plan of the stream starts at its step and every worker
loads it, whether the run is new (step 0 is a checkpoint too), restarted by Ray or resumed by a user.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from rayox_model.checkpoint.snapshot import Facts, Verified, restore, take_snapshot, verified
from rayox_model.core.errors import ConfigError, ModelError
from rayox_model.core.plan import StreamPlan
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import TrainState, new_state
from rayox_model.train.engine_settings import EngineSettings
from rayox_platform.config.tree import Config
from rayox_platform.data.images import CocoImages
from rayox_platform.evaluate.evaluation import EvaluationSettings
from rayox_platform.runs.checkpoints import Checkpoints, Chosen, say_nothing
from rayox_platform.runs.home import RunHome
from rayox_platform.track.lineage import package_versions
from rayox_platform.train.fault_injection import Fault
from rayox_platform.train.from_config import engine_settings, evaluation_settings
from rayox_platform.train.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    home: RunHome  # of checkpoints and events
    config: Config  # as it is kept with a checkpoint: without credentials
    train_images: CocoImages
    val_images: CocoImages
    plan: StreamPlan
    device_type: str  # "cuda" or "cpu"
    stop_epoch: int  # finished epochs after which to stop: fewer than the plan's for a run that is paused there
    faults: tuple[Fault, ...] = ()  # injected ones

    @property
    def checkpoints(self) -> Checkpoints:
        return self.home.checkpoints

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train_images.dataset.classes

    @property
    def stop_step(self) -> int:
        return self.stop_epoch * self.plan.steps_per_epoch

    @cached_property
    def engine(self) -> EngineSettings:
        return engine_settings(self.config, self.plan, self.device_type)

    @cached_property
    def evaluation(self) -> EvaluationSettings:
        return evaluation_settings(self.config)


def job_of(
    prepared: Prepared, device_type: str, until_epoch: int | None = None, faults: tuple[Fault, ...] = ()
) -> TrainJob:
    """Raises ConfigError for an epoch to stop at that the run does not have."""
    epochs = prepared.plan.epochs
    if until_epoch is not None and not 0 < until_epoch <= epochs:
        raise ConfigError(f"cannot stop after epoch {until_epoch}: the run has {epochs}", "give one of its epochs")
    return TrainJob(
        home=prepared.home,
        config=Config.model_validate(prepared.config.model_dump(mode="json")),
        train_images=prepared.train_images,
        val_images=prepared.val_images,
        plan=prepared.plan,
        device_type=device_type,
        stop_epoch=until_epoch or epochs,
        faults=faults,
    )


def start_run(job: TrainJob, network: YOLOX) -> str:
    """Write the run's first checkpoint, the weights it starts from, at step 0. Returns its name."""
    state = new_state(network, job.engine, torch.device("cpu"))
    return job.checkpoints.write(take_snapshot(state, facts_of(job, state, 0, Measured())))


def extend_run(job: TrainJob, network: YOLOX, latest: Verified) -> str:
    """Write the settings of a longer run into its latest checkpoint, which is then that of an unfinished run.

    All that is derived from the number of epochs is the longer run's from here on: learning rate, closing epochs, the
    ramp of the average. network is only a place for the weights.
    """
    return _continued(job, network, latest)


def fork_run(job: TrainJob, network: YOLOX, donor: Path | Verified) -> str:
    """Write another run's whole state (weights, averages, optimiser, position) as this run's first checkpoint.

    donor is a checkpoint folder. The run goes on from there under its own settings; with the donor's it takes the
    donor's next step to the bit. Raises ModelError when the checkpoint is damaged, and ConfigError when its network,
    optimiser or stream is another.
    """
    whole = verified(donor)
    theirs, mine = whole.facts, job.config
    for key, there, here in (
        ("model.size", theirs.model.size, mine.model.size),
        ("train.optimizer", theirs.config.get("train", {}).get("optimizer"), mine.train.optimizer),
        ("the classes", theirs.classes, job.classes),
    ):
        if there != here:
            raise ConfigError(
                f"{whole.folder}: its state does not fit {job.home.name}: {key} was {there!r} and is {here!r}",
                "fork between runs of the same network, data and train.optimizer",
            )
    return _continued(job, network, whole)


def _continued(job: TrainJob, network: YOLOX, checkpoint: Verified) -> str:
    state = new_state(network, job.engine, torch.device("cpu"))
    own = [{name: value for name, value in group.items() if name != "params"} for group in state.optimizer.param_groups]
    facts = restore(checkpoint, state)
    for group, settings in zip(state.optimizer.param_groups, own, strict=True):
        group.update(settings)  # the state is the other run's, weight decay and momentum are this one's
    now = job.plan.position(facts.step)
    if any(now.get(key) != value for key, value in facts.stream.items()):
        raise ConfigError(
            f"{checkpoint.folder}: its training stream is not that of {job.home.name}",
            "keep train.seed, train.batch_size, data.lanes and the training images as they are there",
        )
    config = job.config.model_dump(mode="json")
    return job.checkpoints.write(take_snapshot(state, replace(facts, config=config)))


def newest(job: TrainJob, tell: Callable[[str], None] = say_nothing) -> Chosen:
    """The latest whole checkpoint; tell is told of those skipped. Raises ModelError."""
    chosen = job.checkpoints.choose(tell)
    if chosen is None:
        raise ModelError(f"{job.checkpoints}: no whole checkpoint", "start the run again under another name")
    return chosen


@dataclass(frozen=True)
class Measured:
    """What an evaluation found; nothing where there was none."""

    metrics: dict[str, float] = field(default_factory=dict)
    operating: dict[str, object] = field(default_factory=dict)  # thresholds


def facts_of(job: TrainJob, state: TrainState, epoch: int, measured: Measured) -> Facts:
    return Facts(
        model=YOLOXSpec(size=job.config.model.size),
        classes=job.classes,
        image_size=job.config.image_size,
        step=state.step,
        epoch=epoch,
        config=job.config.model_dump(mode="json"),
        metrics=measured.metrics,
        operating=measured.operating,
        stream=job.plan.position(state.step),
        versions=package_versions(),
    )
