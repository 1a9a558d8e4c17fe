"""The settings that a run has: a new one those that are given, a resumed one those it began with."""

import time
from typing import TYPE_CHECKING

from rayox_platform.config import LoadedConfig
from rayox_platform.config.origin import Rank
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config

if TYPE_CHECKING:
    from rayox_platform.train.resume import Resumed


def new_run(loaded: LoadedConfig) -> Config:
    """A new run's settings: as given, under a name of its own."""
    config, named = loaded.config, loaded.origins["name"].rank != Rank.DEFAULT
    name = config.name if named else f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Config.model_validate(config.model_dump() | {"name": name})


def resumed_run(loaded: LoadedConfig, resume: str, extend: int) -> "Resumed":
    """A resumed run's settings, those it began with, and the checkpoint that it goes on from."""
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.errors import storage_errors
    from rayox_platform.track.credentials import with_credentials
    from rayox_platform.train.changeable import DATA
    from rayox_platform.train.resume import Resumed, find_run, last_run, resumed

    config, named = loaded.config, loaded.origins["name"].rank != Rank.DEFAULT
    runs = open_runs(config.storage)
    values = leaves(config.model_dump(mode="json"), settings())
    given = {
        key: value
        for key, value in values
        if loaded.origins[key].rank == Rank.COMMAND_LINE or (key in DATA and loaded.origins[key].is_the_user_s)
    }
    with storage_errors(str(runs), "read"):
        if resume == "auto" and not named:
            found = last_run(runs, config.name, finished_too=extend > 0)
        else:
            found = find_run(runs, config.name if resume == "auto" else resume)
        began, chosen = resumed(runs, found, given, extend)
    tree = began.model_dump() | {"notify": config.notify.model_dump()}
    if began.tracking.uri:
        tree["tracking"]["uri"] = with_credentials(began.tracking.uri, config.tracking.uri)
    return Resumed(Config.model_validate(tree), chosen)
