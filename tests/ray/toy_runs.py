"""Trainings of the toy data set by two workers, as the tests here start and compare them."""

from pathlib import Path
from typing import Any

import torch

from rayox_model.checkpoint.snapshot import averaged_weights
from rayox_platform.config import Config
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.events import Watch, read_events
from rayox_platform.storage.state import state_folder
from rayox_platform.track.record import recorded
from rayox_platform.track.tracking import connect
from rayox_platform.train.fault_injection import Fault
from rayox_platform.train.finishing import Finished, finish
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import fitted
from rayox_platform.train.training import train as train_prepared


def toy_config(
    toy_data: Path,
    storage: Path,
    name: str,
    images: Path | None = None,
    every_steps: int = 0,
    **train: Any,
) -> Config:
    """Nine steps of nano at 64 pixels; train is laid over the section of that name."""
    split = {"images": str(images or toy_data / "images")}
    section = {
        "epochs": 3,
        "batch_size": 8,
        "workers": 2,
        "closing_epochs": 1,
        "warmup_epochs": 1,
        "multi_scale": 0,
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "precision": "fp32",
    }
    return Config.model_validate(
        {
            "name": name,
            "storage": str(storage),
            "image_size": 64,
            "data": {
                "train": split | {"annotations": str(toy_data / "train.json")},
                "val": split | {"annotations": str(toy_data / "val.json")},
                "lanes": 4,
            },
            "model": {"size": "nano"},
            "augment": {"mosaic_scale": [0.5, 1.5], "mixup_prob": 0.0},
            "train": section | train,
            "checkpoint": {"every_steps": every_steps},
        }
    )


def train(
    config: Config,
    show: Watch,
    faults: tuple[Fault, ...] = (),
    resume: bool | Chosen = False,
    extend: bool = False,
) -> Finished:
    prepared = prepare(config, resume=resume, extend=extend)
    store = connect(None, state_folder(), config.tracking.experiment)
    with prepared.home.claim(), recorded(prepared.config, prepared.home, prepared.images, store, show) as record:
        trained = train_prepared(*fitted(prepared), record.handle, faults=faults)
        return finish(prepared, trained, record)


def starts(run: Path) -> list[Start]:
    """The events of a run that tell of its workers' starts."""
    return [event for event in read_events(run) if isinstance(event, Start)]


def assert_same_weights(one: Finished, other: Finished) -> None:
    mine, others = (averaged_weights(Path(run.checkpoint)) for run in (one, other))
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)
