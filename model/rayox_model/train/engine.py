"""The training loop, once, over any iterable of batches: a list in a test, a Ray Data shard on a cluster.

B images in this process's share of a batch, H and W pixels.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from rayox_model.assign.assigner import assign
from rayox_model.core.anchors import anchor_points
from rayox_model.core.collective import num_workers, sum_over_workers
from rayox_model.core.errors import ConfigError, TrainingError
from rayox_model.core.structures import AnchorPoints, Batch, Predictions, Targets, split_batch
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.loss.losses import LossTerms, added, divided, loss_sums
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.ema import averaged, ramp_for
from rayox_model.train.engine_settings import EngineSettings, Precision
from rayox_model.train.loss_scale import LEAST_SCALE
from rayox_model.train.multiscale import resize, size_at
from rayox_model.train.optimizer import (
    clip_gradients,
    make_optimizer,
    scale_gradients,
    set_learning_rate,
    skip_if,
)
from rayox_model.train.parts import arrange, start_training


class StepReport(NamedTuple):
    """What one step did; tensors stay on the device until somebody asks for their numbers."""

    step: int  # counted from 0
    epoch: int
    num_images: int  # of this process
    losses: LossTerms  # of this process, whose mean over the workers is the loss; the counts are of all workers
    gradient_norm: Float[Tensor, ""]  # of the whole step, before clipping; not finite if the step was skipped
    skipped: Bool[Tensor, ""]  # by the GradScaler: the gradient was beyond fp16's range
    failed: Bool[Tensor, ""]  # some worker's loss is not finite, or the gradient without a GradScaler or at any scale
    learning_rate: float
    data_seconds: float  # waited for the batch
    step_seconds: float  # the whole step, with the wait
    scale: Float[Tensor, ""] | None  # the GradScaler's for this step; None without one


class NonFiniteError(TrainingError):
    """A loss that is not finite; the weights are still those from before the step."""

    def __init__(self, report: StepReport, batch: Batch) -> None:
        terms = ", ".join(f"{name} {float(value):g}" for name, value in report.losses._asdict().items())
        self.report, self.batch = report, batch
        self.of_loss = not bool(torch.isfinite(report.losses.total))  # this process's own; or another's, or gradients
        what = "loss" if self.of_loss else "gradient (or another worker's loss)"
        at = "" if self.of_loss or report.scale is None else f", with the loss scaled by {float(report.scale):g}"
        super().__init__(
            f"the {what} of step {report.step} (epoch {report.epoch}) is not finite{at}: {terms}",
            "lower train.learning_rate, or look at that step's images",
        )

    def __reduce__(self) -> tuple[type[TrainingError], tuple[str, str]]:
        return TrainingError, (self.message, self.hint)


@dataclass
class TrainState:
    """What changes from step to step, and what a checkpoint holds."""

    model: YOLOX  # raw weights
    ema: AveragedModel
    optimizer: Optimizer
    scaler: GradScaler
    step: int = 0
    unsettled: tuple[StepReport, Batch] | None = None  # the last step, until its loss is known to be finite


def new_state(model: YOLOX, settings: EngineSettings, device: torch.device) -> TrainState:
    """A state at step 0 for a model that is already on its device; freezes and converts the model as settings say."""
    arrange(model, settings.freeze, settings.batch_norm, device.type)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # 1.3 to 1.5 times the speed of rows of channels on a CPU
    ramp = settings.ema_ramp_steps or ramp_for(settings.schedule.num_steps)
    return TrainState(
        model=model,
        ema=averaged(model, settings.ema_decay, ramp),
        optimizer=make_optimizer(model, settings.optimizer, settings.weight_decay, settings.momentum, settings.beta2),
        scaler=_scaler(settings, device),
    )


def _scaler(settings: EngineSettings, device: torch.device) -> GradScaler:
    scale = settings.loss_scale
    return GradScaler(
        device.type,
        init_scale=scale.initial,
        growth_factor=scale.growth_factor,
        backoff_factor=scale.backoff_factor,
        growth_interval=scale.growth_interval,
        enabled=settings.precision == "fp16",
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
    replica: DistributedDataParallel | None = None,
) -> Iterator[StepReport]:
    """Take one optimiser step for every batch and report it; state moves along.

    replica is the same model inside DistributedDataParallel, if there is one. A batch is computed in
    settings.accumulate parts, whose gradients add up to that of the whole; only BatchNorm sees the parts. The loss is
    divided by this process's positives, as published, or by those of all workers (loss.divide_by).

    Raises NonFiniteError, on every worker, when a step's loss is not finite: just before the next step changes
    weights, so that a GPU never waits for the check. The step itself has changed none: `settle` before saving. Without
    a GradScaler the same holds for a gradient; with one such a step is skipped, though the average moves on (as
    published), until the scale is LEAST_SCALE: what overflows then does not depend on the scale.
    """
    (replica or state.model).train()
    start_training(state.model, settings.freeze, settings.batch_norm)
    if settings.compile:
        state.model.compile()  # the forward pass alone: keys and the average's copy stay those of the plain module
    asked = time.perf_counter()
    for batch in batches:
        arrived = time.perf_counter()
        rate = settings.schedule.at(state.step)
        set_learning_rate(state.optimizer, rate)
        state.optimizer.zero_grad(set_to_none=True)

        losses, any_failed = _compute_gradients(state, batch, settings, device, replica)
        state.scaler.unscale_(state.optimizer)
        norm = clip_gradients(state.optimizer, settings.clip_grad_norm)
        overflowed = ~torch.isfinite(norm)
        scale = state.scaler.scale(torch.ones((), device=device)) if state.scaler.is_enabled() else None
        failed = any_failed | (overflowed if scale is None else overflowed & (scale <= LEAST_SCALE))
        settle(state)
        if scale is None:
            skip_if(state.optimizer, failed)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.ema.update_parameters(state.model)

        done = time.perf_counter()
        report = StepReport(
            step=state.step,
            epoch=batch.epoch,
            num_images=len(batch.images),
            losses=losses,
            gradient_norm=norm,
            skipped=overflowed & (scale is not None),
            failed=failed,
            learning_rate=rate,
            data_seconds=arrived - asked,
            step_seconds=done - asked,
            scale=scale,
        )
        state.step, state.unsettled = state.step + 1, (report, batch)
        yield report
        asked = time.perf_counter()  # what the caller did in between is not waiting for data
    settle(state)


def _compute_gradients(
    state: TrainState,
    batch: Batch,
    settings: EngineSettings,
    device: torch.device,
    replica: DistributedDataParallel | None,
) -> tuple[LossTerms, Bool[Tensor, ""]]:
    """Leave the (scaled) gradient of a whole step with the parameters; its loss, and if any worker's is not finite.

    The parts' sums are divided by the positives of all of them, which are known after the last one only: the gradients
    of those before are rescaled then, and the workers' are put together once.
    """
    network: nn.Module = replica or state.model
    *early, last = _parts(batch, settings.accumulate)
    expected = max(len(batch.targets.boxes), 1)  # about as many positives: they are known after the last part only
    sums = []
    for part in early:
        with _unsynchronised(replica):
            predicted = predict(network, part, settings, state.step, device)
            sums.append(sums_of(*predicted, settings, batch.epoch))
            state.scaler.scale(sums[-1].total / expected).backward()  # type: ignore[no-untyped-call]
    predicted = predict(network, last, settings, state.step, device)
    sums.append(sums_of(*predicted, settings, batch.epoch))
    whole, any_failed = _over_workers(added(sums))
    divisor = _divisor(sums, whole, settings.loss)
    scale_gradients(state.optimizer, expected / divisor)
    state.scaler.scale(sums[-1].total / divisor).backward()  # type: ignore[no-untyped-call]
    return divided(whole, divisor), any_failed


def settle(state: TrainState) -> None:
    """Wait for the last step, and raise NonFiniteError if its loss was not finite: to be called before state is saved.

    All workers fail alike, so each of them has to call it where one does.
    """
    if state.unsettled is None:
        return
    report, batch = state.unsettled
    if bool(report.failed):
        raise NonFiniteError(report, batch)
    state.unsettled = None


def _parts(batch: Batch, accumulate: int) -> list[Batch]:
    """Raises ConfigError when there are not as many images."""
    if len(batch.images) < accumulate:
        raise ConfigError(
            f"train.accumulate: {accumulate} parts, but a worker's share has only {len(batch.images)} images",
            f"set train.accumulate to {len(batch.images)} or less",
        )
    return split_batch(batch, accumulate)


def predict(
    network: nn.Module, batch: Batch, settings: EngineSettings, step: int, device: torch.device
) -> tuple[Predictions, AnchorPoints, Targets]:
    """Forward pass of a batch at the size its step has, in the set precision; anchors and targets are fp32 always."""
    images, targets = _prepare(batch, settings, step, device)
    with _autocast(device, settings.precision):
        predictions = Predictions(*network(images))
    return predictions, anchor_points(images.shape[2], images.shape[3], device), targets


def sums_of(
    predictions: Predictions, anchors: AnchorPoints, targets: Targets, settings: EngineSettings, epoch: int
) -> LossTerms:
    """Assignment and loss, in fp32 always, not yet divided by positives."""
    assignment = assign(predictions, anchors, targets, settings.assigner)
    return loss_sums(predictions, anchors, targets, assignment, settings.loss, settings.with_l1(epoch))


def _over_workers(own: LossTerms) -> tuple[LossTerms, Bool[Tensor, ""]]:
    """This process's terms with the counts of all workers; and whether any worker's total is not finite."""
    failed = (~torch.isfinite(own.total)).float()
    num_positives, num_boxes, failures = sum_over_workers(torch.stack((own.num_positives, own.num_boxes, failed)))
    return own._replace(num_positives=num_positives, num_boxes=num_boxes), failures > 0


def _divisor(own: list[LossTerms], whole: LossTerms, loss: LossWeights) -> Float32[Tensor, ""]:
    """What this process's sums are divided by. DDP takes the mean of the workers' gradients, so a sum is W means."""
    if loss.divide_by == "all_positives":
        return whole.num_positives.clamp(min=1) / num_workers()
    return torch.stack([part.num_positives for part in own]).sum().clamp(min=1)


def _unsynchronised(replica: DistributedDataParallel | None) -> AbstractContextManager[object]:
    return nullcontext() if replica is None else replica.no_sync()


def _prepare(
    batch: Batch, settings: EngineSettings, step: int, device: torch.device
) -> tuple[Float[Tensor, "B 3 H W"], Targets]:
    """Ship as uint8, convert on the device; the permuted view is channels-last without a copy."""
    images = batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    if not settings.channels_last:
        images = images.contiguous()
    targets = Targets(*(part.to(device, non_blocking=True) for part in batch.targets))
    return resize(images, targets, size_at(step, settings.image_size, settings.multi_scale, settings.seed))


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.float16 if precision == "fp16" else torch.bfloat16)
