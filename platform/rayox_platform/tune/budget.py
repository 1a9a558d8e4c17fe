"""Whether a campaign may begin another trial, and why not."""

from collections.abc import Sequence

from rayox_platform.tune.expected_gain import expected_gain
from rayox_platform.tune.search import grid_point
from rayox_platform.tune.state import OVER, State, Trial


def why_no_more(state: State) -> str | None:
    """What is used up, in words; None while another trial may begin."""
    budget, trials = state.campaign.budget, state.search
    if state.campaign.search.kind == "grid" and trials and grid_point(state, len(trials) - 1) is None:
        return "the points of the grid"
    if len(trials) >= budget.trials:
        return f"budget.trials {budget.trials}"
    if budget.epochs is not None and epochs_planned(trials, state) >= budget.epochs:
        return f"budget.epochs {budget.epochs}"
    why = out_of_time(state)
    if why:
        return why
    return _nothing_to_gain(state)


def _nothing_to_gain(state: State) -> str | None:
    stop = state.campaign.stop_when
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


def out_of_time(state: State) -> str | None:
    """The budgets that also stop what has begun."""
    budget = state.campaign.budget
    if budget.hours is not None and state.driven_seconds >= 3600 * budget.hours:
        return f"budget.hours {budget.hours:g}"
    if budget.gpu_hours is not None and gpu_hours(state) >= budget.gpu_hours:
        return f"budget.gpu_hours {budget.gpu_hours:g}"
    if budget.cost is not None and cost(state) >= budget.cost:
        return f"budget.cost {budget.cost:g}"
    return None


def epochs_planned(trials: Sequence[Trial], state: State) -> int:
    """Trained ones, and those still to come of what runs."""
    coming = sum(max(0, trial.until - trial.epoch) for trial in trials if trial.state == "running")
    return state.epochs_trained + coming


def gpu_hours(state: State) -> float:
    """What all trials have used so far; a part of a GPU counts as that part."""
    return sum(trial.gpu_seconds for trial in state.trials) / 3600


def cost(state: State) -> float:
    """What the machines have cost while drivers had them."""
    price = state.campaign.price
    return (price.node_hour or 0.0) * price.nodes * state.driven_seconds / 3600


def _without_gain(state: State) -> int:
    """Trials that ended one after the other without a better score than all before them."""
    count, best = 0, float("-inf")
    for trial in sorted((one for one in state.search if one.state in (*OVER, "paused")), key=lambda one: one.number):
        score = max((state.score(trial, at) for at in trial.reports), default=float("-inf"))
        count = 0 if score > best + (state.campaign.stop_when.gain if best > float("-inf") else 0) else count + 1
        best = max(best, score)
    return count
