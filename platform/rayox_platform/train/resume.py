"""Resuming a run: which one is meant, and with which settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.places import Runs
from rayox_platform.storage.state import RESULT
from rayox_platform.train.changeable import CHANGEABLE


class Found(NamedTuple):
    """A run that can be resumed, and the checkpoint to resume it from."""

    run: str
    chosen: Chosen


class Resumed(NamedTuple):
    """The settings and the checkpoint that a run is resumed with."""

    config: Config
    chosen: Chosen


def last_run(runs: Runs, recipe: str, finished_too: bool = False) -> Found:
    """The latest unfinished run of a recipe, or the latest at all. Raises ConfigError when there is none."""
    homes = [runs.home(name) for name in runs.names() if name.startswith(f"{recipe}-")]
    homes = [home for home in homes if finished_too or not home.shared.has(RESULT)]
    for home in sorted(homes, key=lambda home: home.changed_at(), reverse=True):
        if chosen := home.checkpoints.choose():
            return Found(home.name, chosen)
    kind = "run" if finished_too else "unfinished run"
    raise ConfigError(f"--resume auto: no {kind} of {recipe} in {runs}", "leave --resume out to start one")


def find_run(runs: Runs, name: str) -> Found:
    """The run of a name. Raises ConfigError when it has no checkpoint."""
    chosen = runs.home(name).checkpoints.choose()
    if chosen is None:
        raise ConfigError(f"--resume {name}: no run of that name has a checkpoint in {runs}", "check the name")
    return Found(name, chosen)


def resumed_config(runs: Runs, name: str, given: Mapping[str, Any], extend: int = 0) -> Config:
    """The settings of resumed alone."""
    return resumed(runs, find_run(runs, name), given, extend).config


def resumed(runs: Runs, found: Found, given: Mapping[str, Any], extend: int = 0) -> Resumed:
    """The settings a run began with, with those of `given` (by dotted key) that may change laid over them.

    extend is added to its epochs. Credentials are left out as they are in what is kept. Raises ConfigError for a run
    that is finished and not extended, and for settings that would make it another run.
    """
    name, chosen = found
    if runs.home(name).shared.has(RESULT) and not extend:
        raise ConfigError(
            f"--resume {name}: this run is finished",
            "train it further with --extend EPOCHS, or start a new one under another --name",
        )
    began = Config.model_validate(chosen.facts.config)
    values = dict(leaves(began.model_dump(mode="json"), settings()))
    other = [key for key, value in given.items() if key not in CHANGEABLE and values[key] != value]
    if other:
        listed = "\n".join(f"{key}: the run began with {values[key]!r}, now {given[key]!r} is given" for key in other)
        raise ConfigError(
            f"--resume {name}: these settings would make it another run\n{listed}",
            "leave them out to resume the run, or start a new one under another --name",
        )
    tree = began.model_dump(mode="json")
    for key in CHANGEABLE.intersection(given):
        *sections, last = key.split(".")
        section = tree
        for inner in sections:
            section = section[inner]
        section[last] = given[key]
    tree["train"]["epochs"] += extend
    return Resumed(Config.model_validate(tree | {"name": name}), chosen)
