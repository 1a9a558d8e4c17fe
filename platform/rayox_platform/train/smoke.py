"""Can this training learn at all? Overfit its first batch, here and now: seconds, without Ray and without a run."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice

import torch

from rayox_model.core.collate import unpack
from rayox_model.core.errors import TrainingError
from rayox_model.core.pack import pack
from rayox_model.core.structures import Batch
from rayox_model.train.engine import NonFiniteError, StepReport, new_state, train
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.schedule import Schedule
from rayox_platform.data.look import step_samples
from rayox_platform.train.from_config import engine_settings
from rayox_platform.train.prepare import Prepared

IMAGES = 8  # of the batch, at most: enough to learn by heart, few enough for a large network on a CPU
STEPS = 40
WARMUP_STEPS = 3
LEARNING_RATE = 4e-3
WANTED = 0.7  # of the loss before, at most; what learns at all comes to half of it and less


@dataclass(frozen=True)
class SmokeResult:
    """What overfitting one batch has shown."""

    loss_before: float
    loss_after: float
    wanted: float  # the loss that was to be reached
    steps: int
    images: int
    boxes: int
    positives_per_box: float
    seconds: float


def smoke(prepared: Prepared, progress: Callable[[StepReport], None] = lambda report: None) -> SmokeResult:
    """Overfit the first images of the run's first step with AdamW, all else as the run has it.

    progress is called with every step. The network in `prepared` stays as it is. Raises TrainingError when the loss
    does not fall to WANTED of what it was, is not finite, or when there is no box to learn.
    """
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = _overfitting(engine_settings(prepared.config, prepared.plan, device.type))
    batch = first_batch(prepared)
    num_images, num_boxes = len(batch.images), len(batch.targets.boxes)
    if not num_boxes:
        raise TrainingError(
            f"smoke test: the first {num_images} images of the run's first step have no box to learn",
            "`rayox data check` tells why boxes are left out; `rayox data show RECIPE --step 0` draws the batch",
        )
    state = new_state(deepcopy(prepared.network).to(device), settings, device)
    reports = []
    try:
        for report in train(state, [batch] * STEPS, settings, device):
            reports.append(report)
            progress(report)
    except NonFiniteError as error:
        raise TrainingError(
            f"smoke test: {error.message}",
            "`rayox data show RECIPE --step 0` draws the batch; try train.precision=fp32",
        ) from None
    before, after = (sum(float(one.losses.total) for one in part) / 3 for part in (reports[:3], reports[-3:]))
    if not after < WANTED * before:
        raise _not_learnt(before, after, num_images, num_boxes)
    positives = float(reports[-1].losses.num_positives) / num_boxes
    seconds = round(time.perf_counter() - began, 1)
    return SmokeResult(before, after, WANTED * before, STEPS, num_images, num_boxes, positives, seconds)


def first_batch(prepared: Prepared) -> Batch:
    """The first images of the run's first step, made as its data tasks make them."""
    config = prepared.config
    shown = step_samples(prepared.train_images, prepared.plan, 0, config.augment, config.image_size)
    samples = [one.sample for one in islice(shown, IMAGES)]
    return unpack(pack(samples, len(samples), config.image_size, config.augment.max_boxes)._asdict(), epoch=0)


def _overfitting(settings: EngineSettings) -> EngineSettings:
    """AdamW at a rate of its own: the question is whether anything can be learnt, not whether the rate fits."""
    schedule = Schedule(peak=LEARNING_RATE, floor_ratio=1.0, warmup_steps=WARMUP_STEPS, flat_steps=0, num_steps=STEPS)
    changes = replace(settings, schedule=schedule, multi_scale=(0, 0), accumulate=1, compile=False)
    return replace(changes, optimizer="adamw", weight_decay=0.0, momentum=0.9, beta2=0.999)


def _not_learnt(before: float, after: float, num_images: int, num_boxes: int) -> TrainingError:
    return TrainingError(
        f"smoke test: {STEPS} steps on the same {num_images} images ({num_boxes} boxes) brought the loss from "
        f"{before:.3g} to {after:.3g}, not to {WANTED * before:.3g} or less: this training would not learn",
        "look at `rayox data show RECIPE --step 0` (are the boxes on the objects?), at the weights under loss.* and "
        "assigner.*, at what train.freeze leaves to learn, and try train.precision=fp32",
    )
