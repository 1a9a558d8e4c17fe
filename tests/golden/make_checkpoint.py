"""Writes the golden checkpoint of the present format: `python tests/golden/make_checkpoint.py`.

Run it once when checkpoint.FORMAT goes up and keep the older archives: tests/model/test_golden_checkpoints.py loads
every one of them, forever. The numbers are patterns, so 15 MB of weights pack into a few kilobytes.
"""

import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from rayox_model.assign.simota_settings import SimOTA
from rayox_model.checkpoint.snapshot import FORMAT, Facts, take_snapshot, write_checkpoint
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import TrainState, new_state
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.schedule import Schedule

FOLDER = Path(__file__).parent / "checkpoints"
FACTS = Facts(
    model=YOLOXSpec(size="nano"),
    classes=("cat", "dog"),
    image_size=(64, 96),
    step=7,
    epoch=1,
    config={"image_size": [64, 96]},
    metrics={"AP": 0.5},
)


def settings() -> EngineSettings:
    return EngineSettings(
        schedule=Schedule(peak=1e-3, floor_ratio=0.5, warmup_steps=0, flat_steps=0, num_steps=40),
        epochs=4,
        closing_epochs=1,
        image_size=(64, 96),
        multi_scale=(0, 0),
        optimizer="adamw",
        weight_decay=0.01,
        momentum=0.9,
        ema_decay=0.9998,
        ema_ramp_steps=10.0,
        precision="fp32",
        seed=0,
        assigner=SimOTA(),
        loss=LossWeights(),
    )


def pattern(number: int) -> float:
    """The value of all elements of the number-th tensor."""
    return (number % 61 + 1) / 64


def fill(tensors: "list[Tensor]", shift: int) -> None:
    for number, tensor in enumerate(tensors):
        tensor.fill_(pattern(number + shift) if tensor.is_floating_point() else number % 7)


@torch.no_grad()
def golden_state() -> TrainState:
    state = new_state(YOLOX("nano", 2), settings(), torch.device("cpu"))
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    fill(list(state.model.state_dict().values()), 0)
    fill(list(state.ema.module.state_dict().values()), 1)
    state.ema.n_averaged.fill_(7)
    for number, moments in enumerate(state.optimizer.state.values()):
        moments["step"].fill_(7.0)
        moments["exp_avg"].fill_(pattern(number + 2))
        moments["exp_avg_sq"].fill_(pattern(number + 3))
    state.step = 7
    return state


def save_checkpoint(parent: Path, state: TrainState, facts: Facts) -> Path:
    """Write parent/step-N at once."""
    return write_checkpoint(parent, take_snapshot(state, facts))


def main() -> None:
    path = FOLDER / f"format-{FORMAT}.tar.xz"
    if path.exists():
        sys.exit(f"{path} is there already: it is what was released, and stays")
    with tempfile.TemporaryDirectory() as parent:
        saved = save_checkpoint(Path(parent), golden_state(), FACTS)
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(path, "w:xz") as archive:
            archive.add(saved, arcname=saved.name)
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
