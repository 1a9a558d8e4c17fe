"""Campaigns on a formula with what real ones have beside: a confirmation, an end, a ledger where the verbs look."""

from collections.abc import Callable, Iterator, Sequence

from simulate import play
from tune_toys import BASE, campaign, curve

from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import CampaignHome, campaign_home
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.ledger_records import (
    Confirmed,
    Event,
    Extended,
    Finished,
    Opened,
    Paused,
    Planned,
    Reported,
    Started,
    to_record,
)

HARDER = 0.3  # AP by which the confirmation's images are harder than the search's


def confirm(state: State, of: int, scores: Sequence[float]) -> None:
    """Trainings of a trial with fresh seeds."""
    metric = state.campaign.first_metric
    for seed, score in enumerate(scores, 1000):
        number = len(state.trials)
        values, run = state.trials[of].values, f"t{of}-s{seed}"
        at = state.last + 1.0
        state.apply(Planned(trial=number, values=values, seed=seed, run=run, phase="confirm", of=of), at)
        state.apply(Started(trial=number, until=9), at)
        state.apply(Reported(trial=number, epoch=9, metrics={metric: score}, seconds=9.0), at)
        state.apply(Finished(trial=number), at)


def confirmed(settings: Campaign | None = None, curve: Callable[..., list[float]] = curve) -> State:
    """Played, and then the base recipe and the best trial trained again, where all have less AP.

    The base recipe's AP differs by 0.02 from seed to seed.
    """
    state, _ = play(settings or campaign("promote", "tpe", trials=12), BASE, curve)
    level = state.score(state.trials[0]) - HARDER
    best = next(trial.number for trial in state.ranked() if trial.number)
    confirm(state, 0, [level - 0.02, level, level + 0.02])
    confirm(state, best, [level, level + 0.01, level + 0.03])
    state.apply(Confirmed(result={"sentence": "nothing to gain", "winner": None, "compared": []}), state.last)
    return state


def extended(state: State, more: int) -> State:
    """The search goes on behind the confirmation."""
    state.apply(Extended(budget={"trials": len(state.search) + more}), state.last)
    for top_k in range(5, 5 + more):
        number = len(state.trials)
        values = dict(state.trials[1].values) | {"assigner.top_k": top_k}
        state.apply(Planned(trial=number, values=values, seed=0, run=f"t{number}"), state.last)
        state.apply(Started(trial=number, until=1), state.last)
        state.apply(Reported(trial=number, epoch=1, metrics={"AP": 0.1}, seconds=1.0), state.last + 1.0)
    return state


def keep(state: State, name: str, *more: Event, storage: str | None = None, began: float = 1.0) -> CampaignHome:
    """Write a ledger that adds up to a state's trials, and then more, where `rayox tune` looks for it."""
    home = campaign_home(storage, name)
    journal = home.journal()
    settings = state.campaign.model_dump(mode="json") | {"name": name}
    journal.append(to_record(Opened(campaign=settings, config=state.config, version="0"), began))
    events = [event for trial in state.trials for event in _events(trial)]
    for at, event in enumerate((*events, *more)):
        journal.append(to_record(event, began + 1.0 + at))
    return home


def _events(trial: Trial) -> Iterator[Event]:
    number = trial.number
    yield Planned(trial=number, values=trial.values, seed=trial.seed, run=trial.run, phase=trial.phase, of=trial.of)
    if trial.state != "planned":
        yield Started(trial=number, until=trial.until)
    for epoch, metrics in trial.reports.items():
        yield Reported(trial=number, epoch=epoch, metrics=metrics, seconds=60.0)
    if trial.state == "finished":
        yield Finished(trial=number)
    elif trial.state == "paused":
        yield Paused(trial=number, epoch=trial.epoch)
