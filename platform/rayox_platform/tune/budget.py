"""Whether a campaign may begin another trial, and why not; and when its search has to end for want of time."""

import math
from collections.abc import Sequence
from itertools import accumulate

from rayox_platform.tune.campaign_state import OVER, State, Trial
from rayox_platform.tune.confirmation import candidates
from rayox_platform.tune.expected_gain import expected_gain
from rayox_platform.tune.search import grid_point

MOST_KEPT = 0.5  # of a budget, for the confirmation: a small one is for the search too


def why_no_more(state: State, at_a_time: int = 1) -> str | None:
    """What is used up, in words; None while another trial may begin. at_a_time: how many trials run side by side."""
    budget, trials = state.campaign.budget, state.search
    if state.campaign.search.kind == "grid" and trials and grid_point(state, len(trials) - 1) is None:
        return "the points of the grid"
    if len(trials) >= budget.trials:
        return f"budget.trials {budget.trials}"
    schedule = state.campaign.schedule
    if schedule.kind == "pbt" and len(trials) >= schedule.population:
        return f"schedule.population {schedule.population}"
    if budget.epochs is not None and epochs_planned(trials) >= budget.epochs:
        return f"budget.epochs {budget.epochs}"
    return out_of_time(state, at_a_time) or nothing_to_gain(state)


def nothing_to_gain(state: State) -> str | None:
    """What of stop_when ends the search, in words; None while nothing does, or an extension asks for more trials."""
    stop = state.campaign.stop_when
    if len(state.search) < state.regardless:
        return None
    if stop.no_gain_for and _without_gain(state) >= stop.no_gain_for:
        return f"stop_when.no_gain_for {stop.no_gain_for}"
    if not (stop.expected_gain or stop.below_noise):
        return None
    expected = expected_gain(state)
    if expected is None:
        return None
    told = f"all further trials are expected to add {expected.gain:.4f} to {state.campaign.first_metric}"
    if expected.gain < stop.expected_gain:
        return f"stop_when.expected_gain {stop.expected_gain:g}: {told}"
    if stop.below_noise and expected.gain < expected.noise:
        return f"stop_when.below_noise: {told}, and trainings alike differ by {expected.noise:.4f}"
    return None


def out_of_time(state: State, at_a_time: int = 1) -> str | None:
    """The budgets that end the search whatever waits at a rung, less what the confirmation is expected to take.

    The confirmation is done all the same: without it nobody knows what the search has found.
    """
    budget, price = state.campaign.budget, state.campaign.price
    if budget.hours is budget.gpu_hours is budget.cost is None:
        return None
    left = trainings_to_confirm(state)
    hours = math.ceil(left / at_a_time) * state.epochs * (epoch_seconds(state) or 0.0) / 3600
    hourly = (price.node_hour or 0.0) * price.nodes
    for name, most, used, kept in (
        ("budget.hours", budget.hours, state.driven_seconds / 3600, hours),
        ("budget.gpu_hours", budget.gpu_hours, gpu_hours(state), left * state.epochs * _epoch_gpu_hours(state)),
        ("budget.cost", budget.cost, cost(state), hourly * hours),
    ):
        if most is None:
            continue
        kept = min(kept, MOST_KEPT * most)
        if used >= most:
            return f"{name} {most:g}"
        if used + kept >= most:
            return f"{name} {most:g}, of which {kept:.2g} are kept for the confirmation"
    return None


def trainings_to_confirm(state: State) -> int:
    """That the confirmation will take, as far as can be said before the search has ended; 0 where there is none."""
    confirm = state.campaign.confirm
    if not state.confirms or state.confirmed is not None:
        return 0
    chosen = {trial.number for trial in candidates(state)}
    done = [trial for trial in state.trials if trial.phase == "confirm" and trial.of in chosen]
    return max(0, (confirm.top + 1) * confirm.seeds - len(done))


def epoch_seconds(state: State) -> float | None:
    """As measured by the trials so far."""
    measured = sum(len(trial.reports) for trial in state.trials)
    return sum(trial.seconds for trial in state.trials) / measured if measured else None


def epochs_planned(trials: Sequence[Trial]) -> int:
    """Trained ones, and those still to come of what runs."""
    return sum(max(trial.until, trial.epoch) if trial.state == "running" else trial.epoch for trial in trials)


def gpu_hours(state: State) -> float:
    """What all trials have used so far; a part of a GPU counts as that part."""
    return sum(trial.gpu_seconds for trial in state.trials) / 3600


def cost(state: State) -> float:
    """What the machines have cost while drivers had them."""
    price = state.campaign.price
    return (price.node_hour or 0.0) * price.nodes * state.driven_seconds / 3600


def _epoch_gpu_hours(state: State) -> float:
    """Of one epoch of a trial, on average."""
    return gpu_hours(state) / max(1, state.epochs_trained)


def _without_gain(state: State) -> int:
    """Trials that ended one after the other without a better score than all before them.

    Each is compared after the last epoch that one before it has come to as well: with rungs most have fewer epochs than
    the best.
    """
    count, best = 0, dict[int, float]()  # by epoch
    for trial in state.search:
        if trial.state not in OVER and (trial.state != "paused" or trial.owed):
            continue
        scores = {} if trial.state == "failed" else _best_until(state, trial)
        common = max(scores.keys() & best.keys(), default=None)
        is_better = common is not None and scores[common] > best[common] + state.campaign.stop_when.gain
        count = 0 if is_better or (scores and not best) else count + 1
        best |= {epoch: max(score, best.get(epoch, score)) for epoch, score in scores.items()}
    return count


def _best_until(state: State, trial: Trial) -> dict[int, float]:
    """By each epoch at which it was measured: the best score it had by then."""
    metric = state.campaign.first_metric
    values = {epoch: trial.reports[epoch].get(metric, math.nan) for epoch in sorted(trial.reports)}
    scores = {epoch: state.sign * value for epoch, value in values.items() if math.isfinite(value)}
    return dict(zip(scores, accumulate(scores.values(), max), strict=True))
