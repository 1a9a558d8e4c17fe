"""A campaign as an Optuna study in a database, for optuna-dashboard and whoever else reads studies."""

import optuna
from sqlalchemy.exc import SQLAlchemyError

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.search import study_of
from rayox_platform.tune.state import State


def export_study(state: State, url: str) -> int:
    """Write the study anew under the campaign's name; how many trials it has. Raises ConfigError."""
    name, source = state.campaign.name, study_of(state)
    try:
        storage = optuna.storages.RDBStorage(url)
        if name in optuna.study.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, directions=source.directions)
        study.add_trials(source.get_trials(deepcopy=False))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"--optuna: {url} cannot be written ({said})", "give sqlite:///FILE") from error
    study.set_metric_names(list(state.campaign.metrics))
    return len(study.trials)
