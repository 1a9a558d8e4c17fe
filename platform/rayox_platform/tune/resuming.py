"""Going on with a campaign: what may differ from how it began, which is nothing that decides a trial."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.models.bundle import file_digest, folder_digest
from rayox_platform.train.changeable import CHANGEABLE
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.state import State

FREE = ("name", "budget", "concurrency", "price", "stop_when", "confirm")
WEIGHTS = "model.init"
ELSEWHERE = ("tracking.", "notify.")  # decided by this call, not by the campaign


def check_same(state: State, campaign: Campaign, base: Config, given: frozenset[str]) -> None:
    """Raises ConfigError for settings that would make it another campaign.

    The file of the recipe may lie elsewhere now, and so may the weights that trials start from: what counts is what
    they contain.
    """
    before, now = state.campaign.model_dump(mode="json"), campaign.model_dump(mode="json")
    other = [
        f"{key}: it began with {before[key]}, now {now[key]} is given"
        for key in before
        if key not in (*FREE, "recipe") and before[key] != now[key]
    ]
    began, weights = dict(leaves(state.config, settings())), weights_digest(base.model.init)
    known = bool(state.weights and weights)  # no file of this machine, or one that is gone, has no digest
    for key, value in leaves(base.model_dump(mode="json"), settings()):
        if key in CHANGEABLE or key.startswith(ELSEWHERE) or key not in began:
            continue
        if began[key] != value and not (key == WEIGHTS and known and weights == state.weights):
            other.append(f"{key}: it began with {began[key]!r}, now {value!r} is given")
    if known and weights != state.weights and began[WEIGHTS] == base.model.init:
        other.append(f"{WEIGHTS}: {base.model.init} does not hold the weights that it began with")
    refused = [key for key in sorted(given) if key.partition(".")[0] in FREE and not key.startswith("budget")]
    other += [f"{key}: only the budget can be changed" for key in refused if _differs(before, now, key)]
    if other:
        listed = "\n".join(other)
        raise ConfigError(
            f"--resume {state.campaign.name}: this would make it another campaign\n{listed}",
            "leave these out to go on with it, or begin another one under another --name",
        )


def weights_digest(init: str | None) -> str:
    """SHA-256 of the file or checkpoint of this machine that trials start from; empty where there is none."""
    if not init or not Path(init).exists():
        return ""
    return folder_digest(Path(init)) if Path(init).is_dir() else file_digest(Path(init))


def changed_budget(campaign: Campaign, given: frozenset[str]) -> Mapping[str, Any]:
    """What the command line says of the budget."""
    budget = campaign.budget.model_dump(mode="json")
    return {key: budget[key] for key in budget if f"budget.{key}" in given or "budget" in given}


def _differs(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    first, _, rest = key.partition(".")
    if first == "concurrency":
        return False
    if not rest:
        return bool(before[first] != now[first])
    return bool(before[first].get(rest) != now[first].get(rest))
