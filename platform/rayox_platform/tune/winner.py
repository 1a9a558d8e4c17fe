"""A campaign's winner as a recipe, with its evidence in the header."""

import math
from pathlib import Path

import yaml

from rayox_model.core.errors import ConfigError
from rayox_platform.config.recipe import packaged_names
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.tune.state import State, Trial

# Where things lie, and what campaigns do for their own sake.
NOT_OF_THE_WINNER = ("name", "storage", "data.", "tracking.", "notify.", "train.evaluate_every", "train.spares")


def winning_trial(state: State, number: int | None = None) -> Trial:
    """The confirmed winner, or the trial of a number. Raises ConfigError where there is nothing to write down."""
    name = state.campaign.name
    if number is not None:
        if not 0 <= number < len(state.search):
            raise ConfigError(f"--trial {number}: {name} has trials 0 to {len(state.search) - 1}", "")
        return state.search[number]
    if state.confirmed is None:
        raise ConfigError(
            f"{name}: its winner has not been confirmed", "let the campaign end, or name a trial by --trial"
        )
    winner = state.confirmed["winner"]
    if winner is None:
        raise ConfigError(f"{name}: {state.confirmed['sentence']}", "keep the recipe, or name a trial by --trial")
    return state.trials[int(winner)]


def as_recipe(state: State, trial: Trial, base: str, settings: dict[str, object]) -> str:
    """YAML that extends the base recipe; settings are those that the campaign set beside the searched ones."""
    lines = [
        f"# Trial {trial.number} of the campaign {state.campaign.name}: {base} with searched settings.",
        f"# evidence: {_evidence(state, trial)}",
        f"# search:   {state.campaign.search.kind} with {state.campaign.schedule.kind}, {len(state.search)} trials, "
        f"{state.epochs_trained} epochs",
        f"# run:      {trial.run}",
        f"extends: {base}",
    ]
    tree: dict[str, object] = {}
    for key, value in (settings | dict(trial.values)).items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})  # type: ignore[assignment]
        section[name] = value
    return "\n".join(lines) + "\n" + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)


def base_name(recipe: str, folder: Path, packaged: Path) -> str:
    """What the new recipe extends, as seen from its folder."""
    if recipe in packaged_names(packaged):
        return recipe
    path = Path(recipe).absolute()
    return str(path.relative_to(folder.absolute())) if path.is_relative_to(folder.absolute()) else str(path)


def _evidence(state: State, trial: Trial) -> str:
    if state.confirmed and any(one["trial"] == trial.number for one in state.confirmed["compared"]):
        return str(state.confirmed["sentence"])
    score = state.score(trial)
    value = f"{state.campaign.first_metric} {state.sign * score:.4f}" if math.isfinite(score) else "no score"
    return f"{value} after {trial.epoch} epochs with one seed; not confirmed, it may be luck"


def base_settings(state: State, recipe: Config) -> dict[str, object]:
    """What all trials had and the recipe alone has not, but for where things lie."""
    plain = dict(leaves(recipe.model_dump(mode="json"), settings()))
    own = dict(leaves(state.config, settings()))
    return {key: value for key, value in own.items() if value != plain[key] and not key.startswith(NOT_OF_THE_WINNER)}
