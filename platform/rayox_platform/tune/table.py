"""A campaign as rows and words, for the terminal and for programs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayox_platform.tune.state import State, Trial


@dataclass(frozen=True)
class Row:
    trial: int
    state: str
    epoch: int
    score: float | None
    values: Mapping[str, Any]
    seconds: float
    run: str
    why: str


def rows(state: State) -> list[Row]:
    """The best first, then those without a score."""
    ranked = state.ranked()
    others = [trial for trial in state.search if trial not in ranked]
    return [row(state, trial) for trial in [*ranked, *others]]


def row(state: State, trial: Trial) -> Row:
    score = state.score(trial)
    known = state.sign * score if math.isfinite(score) else None
    return Row(
        trial.number, trial.state, trial.epoch, known, trial.values, round(trial.seconds, 1), trial.run, trial.why
    )


def summary(state: State) -> dict[str, Any]:
    """What `--json` has of a campaign."""
    best = state.best
    return {
        "name": state.campaign.name,
        "status": state.ended.status if state.ended else "running",
        "why": state.ended.why if state.ended else "",
        "metric": state.campaign.first_metric,
        "best": row(state, best).__dict__ if best else None,
        "base": row(state, state.search[0]).__dict__ if state.search else None,
        "trials": [one.__dict__ for one in rows(state)],
        "epochs": state.epochs_trained,
        "hours": round(state.driven_seconds / 3600, 4),
        "confirmed": state.confirmed,
    }


def short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def columns(state: State) -> list[str]:
    """The last parts of the settings' keys where these tell them apart."""
    keys = [one.key for one in state.campaign.dimensions]
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def cells(state: State, one: Row) -> list[object]:
    values = [short(one.values.get(dimension.key, "–")) for dimension in state.campaign.dimensions]
    return [one.trial, one.state, one.epoch, one.score, *values, one.why[:60]]
