"""What trials cost: time, GPUs and money, each and for a point of the first metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayox_platform.tune.budget import cost
from rayox_platform.tune.campaign_state import State, Trial

POINT = 0.01  # of a COCO metric, which the first one is


@dataclass(frozen=True)
class PointCost:
    """What the search has cost, and what it has gained on the base recipe for that."""

    metric: str
    hours: float  # of training, over all its trials
    gpu_hours: float
    money: float | None
    base: float
    best: float
    epoch: int  # after which both are compared
    best_trial: int

    def per_point(self) -> str:
        """In words, of training."""
        points = abs(self.best - self.base) / POINT
        return _spent(self.hours / points, self.gpu_hours / points, self.money and self.money / points)

    def sentence(self) -> str:
        return (
            f"A point of {self.metric} ({POINT:g}) cost {self.per_point()} of training: the search's trials took "
            f"{_spent(self.hours, self.gpu_hours, self.money)} in all, and after {self.epoch} "
            f"epoch{'s' if self.epoch > 1 else ''} trial {self.best_trial} has {self.best:.4f} where the base recipe "
            f"has {self.base:.4f}, each with one seed."
        )


def point_cost(state: State) -> PointCost | None:
    """None while no trial is better than the base recipe after as many epochs, or no time is known."""
    best, hours = state.best, sum(trial.seconds for trial in state.search) / 3600
    if best is None or not hours:
        return None
    base = state.search[0]
    epoch = min(base.epoch, best.epoch)
    gain = state.score(best, epoch) - state.score(base, epoch)
    if not math.isfinite(gain) or gain <= 0:
        return None
    return PointCost(
        metric=state.campaign.first_metric,
        hours=hours,
        gpu_hours=sum(trial.gpu_seconds for trial in state.search) / 3600,
        money=hours * price_of_hour(state) or None,
        base=state.sign * state.score(base, epoch),
        best=state.sign * state.score(best, epoch),
        epoch=epoch,
        best_trial=best.number,
    )


def cost_in_words(state: State) -> str:
    """What a point of the first metric cost; or what was spent without a gain. Empty while nothing is spent."""
    found, seconds = point_cost(state), sum(trial.seconds for trial in state.search)
    if found:
        return found.sentence()
    if not seconds:
        return ""
    gpu_hours = sum(trial.gpu_seconds for trial in state.search) / 3600
    total = _spent(seconds / 3600, gpu_hours, price_of_hour(state) * seconds / 3600)
    metric = state.campaign.first_metric
    if not math.isfinite(state.score(state.search[0])):
        return f"The search's trials took {total} of training. The base recipe has no {metric} to compare them with."
    return (
        f"The search's trials took {total} of training. The best one is not better than the base recipe after as many "
        f"epochs, so no point of {metric} was gained for that."
    )


def price_of_hour(state: State) -> float:
    """Money for an hour of training: what the machines have cost, over all trainings. 0 without a price."""
    hours = sum(trial.seconds for trial in state.trials) / 3600
    return cost(state) / hours if hours else 0.0


def best_by_seconds(state: State, scored: Sequence[Trial]) -> list[tuple[float, float]]:
    """(seconds of training over all trials, the best value by then) at each report."""
    told = sorted(
        (at, trial.number, epoch) for trial in scored for epoch, at in trial.told_at.items() if epoch in trial.reports
    )
    found, seconds, best = list[tuple[float, float]](), 0.0, -math.inf
    for _, number, epoch in told:
        trial = state.trials[number]
        seconds += trial.seconds / max(len(trial.reports), 1)
        best = max(best, state.score(trial, epoch) if trial.state != "failed" else -math.inf)
        if math.isfinite(best):
            found.append((seconds, state.sign * best))
    return found


def time_unit(seconds: float) -> tuple[float, str]:
    """Of a time of that order: its seconds, and its name in the plural."""
    if seconds >= 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if seconds >= 60 else (1.0, "seconds")


def duration(seconds: float) -> str:
    """As a table has it: "42 s", "3.5 min" or "2.1 h"."""
    unit, name = time_unit(seconds)
    return f"{seconds:.0f} s" if name == "seconds" else f"{seconds / unit:.1f} {'h' if name == 'hours' else 'min'}"


def amount(number: float) -> str:
    """Of money or hours: two decimals, or two digits of little."""
    return f"{number:.2f}" if number >= 0.1 or not number else f"{number:.2g}"


def _spent(hours: float, gpu_hours: float, money: float | None) -> str:
    more = [f"{amount(gpu_hours)} GPU-hours"] if gpu_hours else []
    more += [f"{amount(money)} in money"] if money else []
    return _in_words(hours) + (f" ({', '.join(more)})" if more else "")


def _in_words(hours: float) -> str:
    unit, name = time_unit(3600 * hours)
    return f"{3600 * hours / unit:.1f} {name}"
