"""A campaign as an Optuna study in a database, for optuna-dashboard and whoever else reads studies."""

import warnings
from collections.abc import Iterator
from datetime import datetime

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.study import directions, frozen

MARK = "rayox.campaign"  # of a study: when its campaign began


def export_study(state: State, url: str, force: bool = False) -> int:
    """Write the study anew under the campaign's name; how many trials it has.

    One that was written of the same campaign before is replaced; any other study of that name only with force. Raises
    ConfigError.
    """
    name, wanted = state.campaign.name, directions(state.campaign)
    try:
        storage = optuna.storages.RDBStorage(url)
        if name in optuna.study.get_all_study_names(storage):
            _refuse_foreign(optuna.load_study(study_name=name, storage=storage), state, url, force)
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, directions=wanted)
        study.set_user_attr(MARK, state.began)
        study.add_trials(list(_trials(state)))
    except (SQLAlchemyError, OptunaError, ImportError, ValueError, RuntimeError) as error:
        said = " ".join(str(error.__cause__ or error).split())[:200]
        raise ConfigError(f"--optuna: {url} cannot be written ({said})", "give sqlite:///FILE") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(state.campaign.metrics))
    return len(study.trials)


def _refuse_foreign(study: optuna.Study, state: State, url: str, force: bool) -> None:
    """Raises ConfigError for a study that was not written of this campaign, unless forced."""
    if force or study.user_attrs.get(MARK) == state.began:
        return
    raise ConfigError(
        f"--optuna: {url} has a study {state.campaign.name} of another campaign",
        "give another file, or replace that study by --force",
    )


def _trials(state: State) -> Iterator[FrozenTrial]:
    """With when they were begun and last heard of, their run, and why they came to no end."""
    for trial in state.search:
        found = frozen(state, trial, state.campaign.dimensions)
        found.datetime_start = datetime.fromtimestamp(trial.began)
        if found.state.is_finished():
            found.datetime_complete = datetime.fromtimestamp(max([trial.began, trial.ended, *trial.told_at.values()]))
        found.set_user_attr("run", trial.run)
        if trial.why:
            found.set_user_attr("why", trial.why)
        yield found
