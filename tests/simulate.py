"""A campaign played without training: its own searcher and schedule, on given learning curves, in simulated time."""

import heapq
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rayox_platform.tune.budget import out_of_time, why_no_more
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import (
    Exploited,
    Failed,
    Finished,
    Opened,
    Paused,
    Planned,
    Pruned,
    Reported,
    Started,
)
from rayox_platform.tune.moves import Begin, Done, Exploit, Move, Prune, Resume, Wait
from rayox_platform.tune.schedule import next_move
from rayox_platform.tune.search import suggest

Curve = Callable[[Mapping[str, Any]], list[float]]  # from a trial's values to its score after each epoch
Fails = Callable[[int, int], bool]  # whether a trial's part fails at its end, by the trial's number and that epoch


class Played(NamedTuple):
    state: State
    spent: list[tuple[int, float]]  # (epochs trained by then, best whole trial's score) at each one that is done


def never(trial: int, until: int) -> bool:
    return False


def play(
    campaign: Campaign, config: Mapping[str, Any], curve: Curve, slots: int = 2, *, fails: Fails = never
) -> Played:
    """config is that of the base recipe; an epoch takes a second."""
    state = State()
    state.apply(Opened(campaign=campaign.model_dump(mode="json"), config=config, version="simulated"), 1.0)
    return play_on(state, curve, slots, [], fails=fails)


def play_on(state: State, curve: Curve, slots: int, spent: list[tuple[int, float]], *, fails: Fails = never) -> Played:
    """From where nothing runs: a campaign that has begun, or was extended."""
    clock, running = state.last, list[tuple[float, int]]()
    while True:
        move = _move(state, slots) if len(running) < slots else Wait()
        match move:
            case Begin(until):
                number = len(state.trials)
                found = suggest(state)
                planned = Planned(
                    trial=number, values=found.values, seed=0, run=f"t{number}", attributes=found.attributes
                )
                state.apply(planned, clock)
                _start(state, number, until, clock, running)
            case Resume(number, until):
                _start(state, number, until, clock, running)
            case Exploit(number, donor, epoch, values):
                taken = Exploited(
                    trial=number,
                    donor=donor,
                    epoch=epoch,
                    values=values,
                    run=f"t{number}",
                    donor_run=f"t{donor}",
                )
                state.apply(taken, clock)
            case Prune(number, why):
                state.apply(Pruned(trial=number, why=why), clock)
            case Wait():
                clock = _finish(state, running, curve, spent, fails)
            case Done():
                return Played(state, spent)


def _move(state: State, slots: int) -> Move:
    return next_move(state, why_no_more(state, slots) is None, out_of_time(state, slots) is None)


def _start(state: State, number: int, until: int, clock: float, running: list[tuple[float, int]]) -> None:
    state.apply(Started(trial=number, until=until), clock)
    heapq.heappush(running, (clock + until - state.trials[number].epoch, number))


def _finish(
    state: State, running: list[tuple[float, int]], curve: Curve, spent: list[tuple[int, float]], fails: Fails
) -> float:
    """Let the trial that comes first come to the end of its part; its time."""
    clock, number = heapq.heappop(running)
    trial = state.trials[number]
    scores = curve(trial.values)
    for epoch in range(trial.epoch + 1, trial.until + 1):
        metrics = {state.campaign.first_metric: scores[epoch - 1]}
        state.apply(Reported(trial=number, epoch=epoch, metrics=metrics, seconds=1.0), clock)
    if fails(number, trial.until):
        state.apply(Failed(trial=number, why="simulated", code="training"), clock)
    elif trial.until >= state.epochs:
        state.apply(Finished(trial=number), clock)
        best = max(state.score(one) for one in state.search if one.state == "finished")
        spent.append((state.epochs_trained, best))
    else:
        state.apply(Paused(trial=number, epoch=trial.until), clock)
    return clock
