"""Going on with a run: which one is meant, and with which settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayox_model.checkpoint import read_facts
from rayox_model.checkpoint_folder import newest_checkpoint
from rayox_model.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.state import RESULT

# What may differ from the settings a run began with: nothing that decides its weights.
CHANGEABLE = frozenset(
    (
        "name",
        "storage",
        "train.workers",
        "train.cpus_per_worker",
        "train.max_failures",
        "train.timeout_seconds",
        "train.resize_seconds",
        "checkpoint.every_steps",
        "checkpoint.every_minutes",
        "checkpoint.keep",
        "eval.batch_size",
        "tracking.flush_seconds",
        "tracking.step_seconds",
        "notify.url",
        "notify.command",
    )
)


def last_run(folder: Path, recipe: str, finished_too: bool = False) -> str:
    """The youngest unfinished run of a recipe, or the youngest at all. Raises ConfigError when there is none."""
    runs = [run for run in folder.glob(f"{recipe}-*") if finished_too or not (run / RESULT).exists()]
    runs = [run for run in runs if newest_checkpoint(run / "checkpoints")]
    if not runs:
        kind = "run" if finished_too else "unfinished run"
        raise ConfigError(f"--resume auto: no {kind} of {recipe} in {folder}", "leave --resume out to start one")
    return max(runs, key=lambda run: run.stat().st_mtime).name


def resumed_config(folder: Path, given: Mapping[str, Any], extend: int = 0) -> Config:
    """The settings a run began with, with those of `given` (by dotted key) that may change laid over them.

    extend is added to its epochs. Raises ConfigError for a run that is not there, or is finished and not extended, and
    for settings that would make it another run.
    """
    checkpoint = newest_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        raise ConfigError(f"--resume {folder.name}: no checkpoint of such a run in {folder.parent}", "check the name")
    if (folder / RESULT).exists() and not extend:
        raise ConfigError(
            f"--resume {folder.name}: this run is finished",
            "train it further with --extend EPOCHS, or start a new one under another --name",
        )
    began = Config.model_validate(read_facts(checkpoint).config)
    values = dict(leaves(began.model_dump(mode="json"), settings()))
    other = [key for key, value in given.items() if key not in CHANGEABLE and values[key] != value]
    if other:
        listed = "\n".join(f"{key}: the run began with {values[key]!r}, now {given[key]!r} is given" for key in other)
        raise ConfigError(
            f"--resume {folder.name}: these settings would make it another run\n{listed}",
            "leave them out to go on with the run, or start a new one under another --name",
        )
    tree = began.model_dump(mode="json")
    for key in CHANGEABLE.intersection(given):
        *sections, last = key.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[last] = given[key]
    tree["train"]["epochs"] += extend
    return Config.model_validate(tree | {"name": folder.name})
