"""Who trains next: a pure function of a campaign's state, so that a simulation decides as a real driver does.

A trial trains in parts, each to a rung, where it writes an exact checkpoint and frees its machines: pausing, going on
and giving up are all the same to it, and none is ever killed by a schedule or trained twice.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.moves import Begin, Done, Move, Prune, Resume, Wait
from rayox_platform.tune.population import population_move
from rayox_platform.tune.rungs import brackets, interval, rungs


def next_move(state: State, may_begin: bool, may_go_on: bool = True) -> Move:
    """may_begin: whether the budget has room for another trial; may_go_on: for another part of one that waits."""
    for place, trial in enumerate(state.search):
        if trial.owed and trial.state in ("planned", "paused"):
            return Resume(trial.number, trial.until or _first(state, place))
    if not may_go_on:
        return Wait() if _running(state) else Done()
    match state.campaign.schedule.kind:
        case "none":
            return _in_turn(state, may_begin, state.epochs)
        case "promote":
            return _promote(state, may_begin, [rungs(state.campaign.schedule, state.epochs)])
        case "hyperband":
            return _promote(state, may_begin, brackets(state.campaign.schedule, state.epochs))
        case "asha":
            return _stop_at_rungs(state, may_begin)
        case "median":
            return _stop_below_median(state, may_begin)
        case "pbt":
            return population_move(state, may_begin)


def bracket_of(place: int, all_of_them: Sequence[tuple[int, ...]]) -> int:
    """Hyperband's trials go to its brackets in turn, to each as often as its first rung is cheap.

    place is that of a trial among those of the search: confirmations have numbers too.
    """
    weights = [max(1, round(all_of_them[-1][0] / rungs[0])) for rungs in all_of_them]
    place %= sum(weights)
    for bracket, weight in enumerate(weights):
        if place < weight:
            return bracket
        place -= weight
    raise AssertionError(place)


def _first(state: State, place: int) -> int:
    """Epochs of the first part of a trial, by its place among those of the search."""
    schedule, epochs = state.campaign.schedule, state.epochs
    match schedule.kind:
        case "none":
            return epochs
        case "median" | "pbt":
            return min(interval(schedule, epochs), epochs)
        case "hyperband":
            found = brackets(schedule, epochs)
            return found[bracket_of(place, found)][0]
        case _:
            return rungs(schedule, epochs)[0]


def _running(state: State) -> bool:
    return any(trial.state == "running" for trial in state.search)


def _in_turn(state: State, may_begin: bool, until: int) -> Move:
    if may_begin:
        return Begin(until)
    return Wait() if _running(state) else Done()


def _promote(state: State, may_begin: bool, all_brackets: Sequence[tuple[int, ...]]) -> Move:
    """Asynchronous successive halving (arXiv:1810.05934) that pauses: whoever is later found among the best goes on."""
    schedule = state.campaign.schedule
    of_bracket: list[list[Trial]] = [[] for _ in all_brackets]
    for place, trial in enumerate(state.search):
        of_bracket[bracket_of(place, all_brackets)].append(trial)
    for steps, trials in zip(all_brackets, of_bracket, strict=True):
        for at, above in reversed(list(pairwise(steps))):
            best = _best_paused(state, trials, at, _quota(trials, at, schedule.eta))
            if best:
                return Resume(best.number, above)
    if may_begin:
        return Begin(_first(state, len(state.search)))
    for steps, trials in zip(all_brackets, of_bracket, strict=True):
        last = _last_promotion(state, trials, steps)
        if last:
            return last
    return Wait() if _running(state) else Done()


def _last_promotion(state: State, trials: Sequence[Trial], steps: Sequence[int]) -> Move | None:
    """No trial begins any more: at each rung at least one goes on, once all that may still come there have.

    If it fails, the next best does.
    """
    for at, above in pairwise(steps):
        if any(trial.state == "running" and trial.until <= at for trial in trials):
            return None
        if not any(trial.until > at for trial in trials if trial.state != "failed"):
            best = _best_paused(state, trials, at, 1)
            return Resume(best.number, above) if best else None
    return None


def _quota(trials: Sequence[Trial], at: int, eta: float) -> int:
    return int(len([trial for trial in trials if at in trial.reports]) / eta)


def _best_paused(state: State, trials: Sequence[Trial], at: int, quota: int) -> Trial | None:
    """The best one that waits at a rung and is among the `quota` best that have come there."""
    there = [trial for trial in trials if at in trial.reports and trial.state != "failed"]
    best = sorted(there, key=lambda trial: (-state.score(trial, at), trial.number))[:quota]
    return next((trial for trial in best if trial.state == "paused" and trial.until == at), None)


def _stop_at_rungs(state: State, may_begin: bool) -> Move:
    """Ray's ASHA: at its rung a trial goes on if it is among the best so far, and else is over for good."""
    schedule = state.campaign.schedule
    steps = rungs(schedule, state.epochs)
    for trial in _waiting(state):
        above = next(step for step in steps if step > trial.epoch)
        scores = sorted((state.score(other, trial.epoch) for other in _come_to(state, trial.epoch)), reverse=True)
        cut = scores[max(1, math.ceil(len(scores) / schedule.eta)) - 1]
        if state.score(trial) >= cut:
            return Resume(trial.number, above)
        return Prune(trial.number, f"not among the best of {len(scores)} at epoch {trial.epoch}")
    return _in_turn(state, may_begin, steps[0])


def _stop_below_median(state: State, may_begin: bool) -> Move:
    """A trial ends when its best is below the median of the others' means up to the same epoch (Vizier, Sec. 3.1)."""
    schedule = state.campaign.schedule
    step = interval(schedule, state.epochs)
    for trial in _waiting(state):
        measured = [state.measured(other, trial.epoch) for other in _come_to(state, trial.epoch) if other is not trial]
        others = [sum(scores) / len(scores) for scores in measured if scores]
        best = max(state.measured(trial, trial.epoch), default=-math.inf)
        if len(others) >= schedule.min_trials and best < sorted(others)[len(others) // 2]:
            return Prune(trial.number, f"below the median of {len(others)} others at epoch {trial.epoch}")
        return Resume(trial.number, min(trial.epoch + step, state.epochs))
    return _in_turn(state, may_begin, min(step, state.epochs))


def _waiting(state: State) -> list[Trial]:
    return [trial for trial in state.search if trial.state == "paused"]


def _come_to(state: State, epoch: int) -> list[Trial]:
    return [trial for trial in state.search if epoch in trial.reports and trial.state != "failed"]
