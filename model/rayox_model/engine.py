"""The training loop, once, over any iterable of batches: a list in a test, a Ray Data shard on a cluster.

B images in this process's share of a batch, H and W pixels.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from rayox_model.anchors import anchor_points
from rayox_model.assign.settings import SimOTA
from rayox_model.ema import averaged, ramp_for
from rayox_model.errors import TrainingError
from rayox_model.loss_weights import LossWeights
from rayox_model.losses import LossTerms, detection_loss
from rayox_model.multiscale import resize, size_at
from rayox_model.optimizer import OptimizerName, make_optimizer, set_learning_rate
from rayox_model.schedule import Schedule
from rayox_model.structures import Batch, Predictions, Targets
from rayox_model.yolox import YOLOX

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """All that decides what a step does to the weights."""

    schedule: Schedule
    epochs: int
    closing_epochs: int  # the last ones: no mosaic, no mixup, L1 loss on
    image_size: tuple[int, int]
    multi_scale: tuple[int, int]  # times 32 pixels the input may be smaller and larger
    optimizer: OptimizerName
    weight_decay: float
    momentum: float
    ema_decay: float
    ema_ramp_steps: float | None  # None: scaled to the run
    precision: Precision
    seed: int
    assigner: SimOTA
    loss: LossWeights

    def with_l1(self, epoch: int) -> bool:
        return epoch >= self.epochs - self.closing_epochs


@dataclass
class TrainState:
    """What changes from step to step, and what a checkpoint holds."""

    model: YOLOX  # raw weights
    ema: AveragedModel
    optimizer: Optimizer
    scaler: GradScaler
    step: int = 0


class StepReport(NamedTuple):
    """What one step did; the loss terms stay on the device until somebody asks for their numbers."""

    step: int  # counted from 0
    epoch: int
    num_images: int  # of this process
    losses: LossTerms
    learning_rate: float
    data_seconds: float  # waited for the batch
    step_seconds: float  # the whole step, with the wait


def new_state(model: YOLOX, settings: EngineSettings, device: torch.device) -> TrainState:
    """A state at step 0 for a model that is already on its device."""
    ramp = settings.ema_ramp_steps or ramp_for(settings.schedule.num_steps)
    return TrainState(
        model=model,
        ema=averaged(model, settings.ema_decay, ramp),
        optimizer=make_optimizer(model, settings.optimizer, settings.weight_decay, settings.momentum),
        scaler=GradScaler(device.type, enabled=settings.precision == "fp16"),
    )


def averaged_model(state: TrainState) -> YOLOX:
    """The model to evaluate and ship."""
    averaged = state.ema.module
    assert isinstance(averaged, YOLOX)
    return averaged


def train(
    state: TrainState,
    batches: Iterable[Batch],
    settings: EngineSettings,
    device: torch.device,
    replica: nn.Module | None = None,
) -> Iterator[StepReport]:
    """Take one optimiser step for every batch and report it; state moves along.

    replica is the same model inside DistributedDataParallel, if there is one. The losses are normalised by this
    process's positives, as published, and DDP averages the gradients. Raises TrainingError when the loss of a step
    is not finite, after the next step has been started: so a GPU never waits for the check.
    """
    network = replica or state.model
    network.train()
    unchecked: StepReport | None = None
    asked = time.perf_counter()
    for batch in batches:
        arrived = time.perf_counter()
        rate = settings.schedule.at(state.step)
        set_learning_rate(state.optimizer, rate)
        images, targets = _prepare(batch, settings, state.step, device)

        with _autocast(device, settings.precision):
            predictions = Predictions(*network(images))
        anchors = anchor_points(images.shape[2], images.shape[3], device)
        with_l1 = settings.with_l1(batch.epoch)
        losses = detection_loss(predictions, anchors, targets, settings.assigner, settings.loss, with_l1=with_l1)

        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.ema.update_parameters(state.model)

        done = time.perf_counter()
        report = StepReport(
            state.step, batch.epoch, len(images), _detached(losses), rate, arrived - asked, done - asked
        )
        state.step += 1
        _check_finite(unchecked)
        unchecked = report
        yield report
        asked = time.perf_counter()  # what the caller did in between is not waiting for data
    _check_finite(unchecked)


def _prepare(
    batch: Batch, settings: EngineSettings, step: int, device: torch.device
) -> tuple[Float[Tensor, "B 3 H W"], Targets]:
    """Ship as uint8, convert on the device; the permuted view is channels-last without a copy."""
    images = batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    targets = Targets(*(part.to(device, non_blocking=True) for part in batch.targets))
    return resize(images, targets, size_at(step, settings.image_size, settings.multi_scale, settings.seed))


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.float16 if precision == "fp16" else torch.bfloat16)


def _detached(losses: LossTerms) -> LossTerms:
    return LossTerms(*(term.detach() for term in losses))


def _check_finite(report: StepReport | None) -> None:
    if report is None or bool(torch.isfinite(report.losses.total)):
        return
    terms = ", ".join(f"{name} {float(value):g}" for name, value in report.losses._asdict().items())
    raise TrainingError(
        f"the loss of step {report.step} (epoch {report.epoch}) is not finite: {terms}",
        "lower train.learning_rate, or look at that step's images",
    )
