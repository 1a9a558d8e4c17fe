"""Runs that have a trial's name and are not its own: a campaign that is gone, or somebody's training, has left them.

They are neither gone on with, which would report their epochs as those of other settings, nor touched.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from rayox_model.core.errors import ConfigError, DataError, ModelError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.data.resolve import resolve_split
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.places import Runs
from rayox_platform.storage.state import state_folder
from rayox_platform.train.changeable import CHANGEABLE
from rayox_platform.train.same_data import check_same_data
from rayox_platform.tune.resuming import ELSEWHERE, WEIGHTS

NOT_ASKED = CHANGEABLE | {WEIGHTS}  # weights that have moved are asked of the campaign as a whole


def free_name(runs: Runs, name: str, config: Config | None, say: Callable[[str], None]) -> str:
    """For the run of a trial that is new: the name, or where another run has it, the next one with a number behind.

    A run with the very settings and data of config is the trial's own, from before a ledger was cut short. Raises
    OSError.
    """
    home = runs.home(name)
    if not home.is_begun() or (config is not None and is_of(home, config)):
        return name
    other = next(name for name in (f"{home.name}-{number}" for number in count(2)) if not runs.home(name).is_begun())
    say(f"there is a run {name} of other settings in {runs}; it stays as it is, and this trial's run is {other}")
    return other


def is_of(home: RunHome, config: Config) -> bool:
    """Whether a run has trained with these settings on this data. Raises OSError."""
    chosen = home.checkpoints.choose()
    if chosen is None:
        return False
    try:
        began = chosen.facts.config
        if others(began, config):
            return False
        splits = {"train": config.data.train, "val": config.data.val}
        images = {
            name: resolve_split(str(split.annotations), split.images, state_folder())[1]
            for name, split in splits.items()
        }
        check_same_data(home, began, config, images)
    except (DataError, ModelError):
        return False
    return True


def refuse_other(chosen: Chosen, config: Config) -> None:
    """Raises ConfigError where the run that a trial would go on with has been trained with other settings."""
    found = others(chosen.facts.config, config)
    if found:
        raise ConfigError(
            f"there is a run {config.name} of other settings ({', '.join(found)})",
            "move it elsewhere, or begin the campaign under another --name",
        )


def others(began: Mapping[str, Any], config: Config) -> list[str]:
    """Settings that decide weights or scores and are not those that a run began with: `KEY VALUE, not VALUE`."""
    before, now = (dict(leaves(tree, settings())) for tree in (began, config.model_dump(mode="json")))
    return [
        f"{key} {before[key]!r}, not {value!r}"
        for key, value in now.items()
        if key in before and before[key] != value and not (key in NOT_ASKED or key.startswith(ELSEWHERE))
    ]
