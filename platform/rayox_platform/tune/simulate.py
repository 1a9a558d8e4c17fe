"""A campaign played without training: its own searcher and schedule, on given learning curves, in simulated time."""

import heapq
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rayox_platform.tune.budget import why_no_more
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.moves import Begin, Done, Exploit, Prune, Resume, Wait
from rayox_platform.tune.records import Exploited, Finished, Opened, Paused, Planned, Pruned, Reported, Started
from rayox_platform.tune.schedule import next_move
from rayox_platform.tune.search import suggest
from rayox_platform.tune.state import State

Curve = Callable[[Mapping[str, Any]], list[float]]  # from a trial's values to its score after each epoch


class Played(NamedTuple):
    state: State
    spent: list[tuple[int, float]]  # (epochs trained by then, best whole trial's score) at each one that is done


def play(campaign: Campaign, config: Mapping[str, Any], curve: Curve, slots: int = 2) -> Played:
    """config is that of the base recipe; an epoch takes a second."""
    state = State()
    state.apply(Opened(campaign=campaign.model_dump(mode="json"), config=config, version="simulated"), 1.0)
    clock, spent = 1.0, list[tuple[int, float]]()
    running: list[tuple[float, int]] = []
    while True:
        move = next_move(state, why_no_more(state) is None) if len(running) < slots else Wait()
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
            case Exploit(number, donor, values):
                taken = Exploited(
                    trial=number,
                    donor=donor,
                    epoch=state.trials[donor].epoch,
                    values=values,
                    run=f"t{number}",
                    donor_run=f"t{donor}",
                )
                state.apply(taken, clock)
            case Prune(number, why):
                state.apply(Pruned(trial=number, why=why), clock)
            case Wait():
                clock = _finish(state, running, curve, spent)
            case Done():
                return Played(state, spent)


def _start(state: State, number: int, until: int, clock: float, running: list[tuple[float, int]]) -> None:
    state.apply(Started(trial=number, until=until), clock)
    heapq.heappush(running, (clock + until - state.trials[number].epoch, number))


def _finish(state: State, running: list[tuple[float, int]], curve: Curve, spent: list[tuple[int, float]]) -> float:
    """Let the trial that comes first come to the end of its part; its time."""
    clock, number = heapq.heappop(running)
    trial = state.trials[number]
    scores = curve(trial.values)
    for epoch in range(trial.epoch + 1, trial.until + 1):
        metrics = {state.campaign.first_metric: scores[epoch - 1]}
        state.apply(Reported(trial=number, epoch=epoch, metrics=metrics, seconds=1.0), clock)
    if trial.until >= state.epochs:
        state.apply(Finished(trial=number), clock)
        best = max(state.score(one) for one in state.search if one.state == "finished")
        spent.append((state.epochs_trained, best))
    else:
        state.apply(Paused(trial=number, epoch=trial.until), clock)
    return clock
