"""A campaign as an Optuna study in a database, for optuna-dashboard and whoever else reads studies."""

import warnings
from collections.abc import Iterator
from datetime import datetime

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.search import study_of
from rayox_platform.tune.state import State


def export_study(state: State, url: str) -> int:
    """Write the study anew under the campaign's name; how many trials it has. Raises ConfigError."""
    name, directions = state.campaign.name, study_of(state).directions
    try:
        storage = optuna.storages.RDBStorage(url)
        if name in optuna.study.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        study.add_trials(list(_trials(state)))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"--optuna: {url} cannot be written ({said})", "give sqlite:///FILE") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(state.campaign.metrics))
    return len(study.trials)


def _trials(state: State) -> Iterator[FrozenTrial]:
    """With when they were begun and last heard of, their run, and why they came to no end."""
    for trial, found in zip(state.search, study_of(state).get_trials(), strict=True):
        found.datetime_start = datetime.fromtimestamp(trial.began)
        if found.state.is_finished():
            found.datetime_complete = datetime.fromtimestamp(max([trial.began, trial.ended, *trial.told_at.values()]))
        found.set_user_attr("run", trial.run)
        if trial.why:
            found.set_user_attr("why", trial.why)
        yield found
