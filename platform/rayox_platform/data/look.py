"""The very images a training step saw, drawn again from the plan: nothing of the run has to be kept for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import block_samples
from rayox_model.core.errors import ConfigError
from rayox_model.core.plan import StreamPlan
from rayox_model.core.quarantine import Quarantine
from rayox_model.core.samples import LabelledImages, Sample
from rayox_platform.data.draw import draw_boxes


@dataclass(frozen=True)
class Shown:
    """One sample of a step: which image it began with, and what became of it."""

    epoch: int
    position: int  # in the epoch
    image: int  # index in the data set
    sample: Sample


def step_samples(
    images: LabelledImages, plan: StreamPlan, step: int, augment: Augment, size: tuple[int, int]
) -> Iterator[Shown]:
    """The global batch of a step (from 0), lane by lane. Raises ConfigError for a step the run does not have."""
    if not 0 <= step < plan.num_steps:
        raise ConfigError(f"--step {step}: the run has steps 0 to {plan.num_steps - 1}", "give one of them")
    window = plan.window_of(step)
    rows_per_step = plan.batch_size // plan.lanes
    start = (step - plan.steps(window).start) * rows_per_step
    quarantine = Quarantine(images)
    for lane in range(plan.lanes):
        rows = plan.rows(window, lane)
        samples = list(block_samples(images, plan, window, lane, augment, size, quarantine))
        for place in range(start, start + rows_per_step):
            yield Shown(int(rows.epoch[place]), int(rows.position[place]), int(rows.image[place]), samples[place])


def image_samples(
    images: LabelledImages, plan: StreamPlan, image: int, augment: Augment, size: tuple[int, int], most: int
) -> Iterator[Shown]:
    """What an image is trained as in the first epochs, at most so many. Raises ConfigError for no such image."""
    if not 0 <= image < plan.num_images:
        raise ConfigError(f"--index {image}: the data set has images 0 to {plan.num_images - 1}", "give one of them")
    for epoch in range(min(plan.epochs, most)):
        step = epoch * plan.steps_per_epoch + plan.position_of(image, epoch) // plan.batch_size
        yield next(one for one in step_samples(images, plan, step, augment, size) if one.image == image)


def draw_sample(shown: Shown, classes: tuple[str, ...]) -> UInt8[np.ndarray, "H W 3"]:
    """A sample with the boxes it is trained on."""
    labels = shown.sample.labels
    return draw_boxes(shown.sample.image, shown.sample.boxes, labels, [classes[label] for label in labels])
