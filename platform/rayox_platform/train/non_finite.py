"""What is said and kept of a step whose loss was not finite: its images, and a file to compute the loss again from."""

import os
import shutil
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.block import row_sample
from rayox_model.core.errors import DataError, TrainingError
from rayox_model.core.plan import StreamPlan
from rayox_model.core.quarantine import Quarantine
from rayox_model.core.samples import LabelledImages, Sample
from rayox_model.replay import KeptStep, keep_step
from rayox_model.train.engine import NonFiniteError, TrainState
from rayox_model.train.engine_settings import EngineSettings
from rayox_platform.data.images import CocoImages
from rayox_platform.runs.home import RunHome
from rayox_platform.stream.lane_assignment import deal
from rayox_platform.train.distributed import gathered

FOLDER = "non_finite"
LISTED = 16  # images in a message, at most


def explained(
    failure: NonFiniteError,
    state: TrainState,
    settings: EngineSettings,
    images: tuple[str, ...],
    rank: int,
    home: RunHome,
) -> TrainingError:
    """Keep this worker's share of the step if the failure is its own, and put together what all workers have to say.

    images tells what each image of its share was made of. Every worker calls it: all of them fail at one step.
    """
    step, somebodys = failure.report.step, any(gathered(failure.of_loss))
    mine = ""
    if failure.of_loss or not somebodys:
        kept = KeptStep(step, state.model, failure.batch, settings, images)
        path = _keep(home, f"{FOLDER}/step-{step:08d}-rank-{rank}.safetensors", kept)
        listed = [f"  {one}" for one in images[:LISTED]]
        if len(images) > LISTED:
            listed.append(f"  … and {len(images) - LISTED} more, all named in the file")
        had = "\n".join(listed)
        mine = f"{failure.message}\nworker {rank} had these images:\n{had}\nthe batch and the weights are in {path}"
    return TrainingError(
        "\n".join(one for one in gathered(mine) if one),
        "`python -m rayox_model.replay FILE` computes the loss again, image by image; `rayox data show --run "
        f"{home.name} --step {step}` draws the batch; else lower train.learning_rate or set train.clip_grad_norm",
    )


def _keep(home: RunHome, name: str, kept: KeptStep) -> str:
    """Put the file beside the run's others, or leave it on this machine when they cannot be reached; where it is."""
    scratch = Path(tempfile.mkdtemp(prefix="rayox-non-finite-"))
    keep_step(scratch / Path(name).name, kept)
    try:
        home.shared.put(scratch / Path(name).name, name)
    except OSError as error:
        return f"{scratch / Path(name).name} on {os.uname().nodename}, as {home} cannot be written ({error})"
    shutil.rmtree(scratch)
    return home.shared.path(name)


def step_images(
    images: CocoImages, plan: StreamPlan, step: int, rank: int, world_size: int, augment: Augment, size: tuple[int, int]
) -> tuple[str, ...]:
    """For each image of a rank's share of a step the ids and names of those it was made of, its own one first."""
    window = plan.window_of(step)
    lanes = next(islice(deal(plan, world_size), window, None))[rank]
    rows_per_step = plan.batch_size // plan.lanes
    start = (step - plan.steps(window).start) * rows_per_step
    quarantine = Quarantine(images)
    told = []
    for lane in lanes:
        rows = [column[start : start + rows_per_step].tolist() for column in plan.rows(window, lane)]
        for epoch, position, image in zip(*rows, strict=True):
            shown = _Recorded(images)
            near = plan.partners(plan.partner_window(epoch, position), lane) if augment.partners == "window" else None
            try:
                row_sample(shown, quarantine, plan, (epoch, position, image), augment, size, near)
            except DataError as error:
                told.append(f"{_named(images, image)}, which cannot be read any more: {error.message}")
                continue
            others = [_named(images, other) for other in dict.fromkeys(shown.loaded) if other != image]
            told.append(_named(images, image) + (f" with {', '.join(others)}" if others else ""))
    return tuple(told)


def _named(images: CocoImages, index: int) -> str:
    return f"image {images.dataset.image_ids[index]} ({images.dataset.file_names[index]})"


class _Recorded:
    """A data set that remembers which of its images were decoded."""

    def __init__(self, images: LabelledImages) -> None:
        self._images = images
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self._images)

    def size(self, index: int) -> tuple[int, int]:
        return self._images.size(index)

    def annotations(self, index: int) -> tuple[Float32[np.ndarray, "G 4"], Int64[np.ndarray, "G"]]:
        return self._images.annotations(index)

    def load(self, index: int) -> Sample:
        self.loaded.append(index)
        return self._images.load(index)

    def load_reduced(self, index: int, factor: int) -> UInt8[np.ndarray, "_ _ 3"]:
        self.loaded.append(index)
        reduced = getattr(self._images, "load_reduced", None)
        pixels: UInt8[np.ndarray, "_ _ 3"] = (
            self._images.load(index).image if reduced is None else reduced(index, factor)
        )
        return pixels
