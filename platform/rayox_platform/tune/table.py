"""A campaign as rows and words, for the terminal and for programs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.costs import amount, duration, price_of_hour

DEAD = "dead"  # a campaign whose driver is gone and has not said why
CUT_OFF = "cut off"  # a trial that ran under a driver that is gone


@dataclass(frozen=True)
class Row:
    trial: int
    state: str
    epoch: int
    score: float | None
    values: Mapping[str, Any]
    seconds: float  # of training
    run: str
    why: str
    gpu_hours: float = 0.0
    cost: float | None = None  # money: its share of what the machines have cost; None without a price


def rows(state: State, status: str = "") -> list[Row]:
    """The best first, then those without a score; status is that of the campaign, where it is known."""
    ranked = state.ranked()
    numbers, price = {trial.number for trial in ranked}, price_of_hour(state)
    others = [trial for trial in state.search if trial.number not in numbers]
    return [row(state, trial, status, price) for trial in [*ranked, *others]]


def row(state: State, trial: Trial, status: str = "", price: float | None = None) -> Row:
    """price is that of an hour of training, where the caller knows it."""
    score = state.score(trial)
    price = price_of_hour(state) if price is None else price
    return Row(
        trial=trial.number,
        state=shown_state(trial, status),
        epoch=trial.epoch,
        score=state.sign * score if math.isfinite(score) else None,
        values=trial.values,
        seconds=round(trial.seconds, 1),
        run=trial.run,
        why=trial.why,
        gpu_hours=round(trial.gpu_seconds / 3600, 6),
        cost=round(price * trial.seconds / 3600, 6) if _priced(state) else None,
    )


def shown_state(trial: Trial, status: str) -> str:
    """Nothing runs in a campaign that nobody drives, and what ran is not paused at a rung."""
    is_cut_off = status == DEAD if trial.state == "running" else trial.state == "paused" and trial.owed
    return CUT_OFF if is_cut_off else trial.state


def summary(state: State, status: str = "") -> dict[str, Any]:
    """What `--json` has of a campaign."""
    best = state.best
    return {
        "name": state.campaign.name,
        "status": status or (state.ended.status if state.ended else "running"),
        "why": state.ended.why if state.ended else "",
        "metric": state.campaign.first_metric,
        "best": row(state, best, status).__dict__ if best else None,
        "base": row(state, state.search[0], status).__dict__ if state.search else None,
        "trials": [one.__dict__ for one in rows(state, status)],
        "epochs": state.epochs_trained,
        "hours": round(state.driven_seconds / 3600, 4),
        "confirmed": state.confirmed,
    }


def short(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def setting_names(state: State) -> list[str]:
    """The last parts of the settings' keys where these tell them apart."""
    keys = [one.key for one in state.campaign.dimensions]
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def columns(state: State) -> list[str]:
    """Those between the metric and the remark: the searched settings, and what a trial cost."""
    return [
        *setting_names(state),
        "took",
        *(["GPU-hours"] if _has_gpus(state) else []),
        *(["cost"] if _priced(state) else []),
    ]


def cells(state: State, one: Row) -> list[object]:
    """A row as a table has it."""
    values = [short(one.values.get(dimension.key, "–")) for dimension in state.campaign.dimensions]
    costs = [duration(one.seconds)]
    costs += [amount(one.gpu_hours)] if _has_gpus(state) else []
    costs += ["–" if one.cost is None else amount(one.cost)] if _priced(state) else []
    return [one.trial, one.state, one.epoch, one.score, *values, *costs, " ".join(one.why.split())[:60]]


def _has_gpus(state: State) -> bool:
    """All trials have the same machines."""
    return any(trial.gpu_seconds for trial in state.trials[:8])


def _priced(state: State) -> bool:
    return bool(state.campaign.price.node_hour)
