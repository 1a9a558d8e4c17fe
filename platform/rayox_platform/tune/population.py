"""Population based training (arXiv:1711.09846): all members train a part, then the worst take over from the best.

A generation is judged when every member has come to its end, so it needs no more machines than one trial does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.moves import Begin, Done, Exploit, Move, Resume, Wait
from rayox_platform.tune.rungs import interval
from rayox_platform.tune.space import Dimension, active

STEP = 0.2  # of a setting's range, up or down
REDRAWN = 0.1  # share of the settings that are drawn anew instead
ATTEMPTS = 200  # to find values that fulfil the constraints


def population_move(state: State, may_begin: bool) -> Move:
    schedule, epochs = state.campaign.schedule, state.epochs
    step = min(interval(schedule, epochs), epochs)
    members = [trial for trial in state.search if trial.state != "failed"]
    if may_begin and len(state.search) < schedule.population:
        return Begin(step)
    paused = [trial for trial in members if trial.state == "paused"]
    if not paused:
        return Wait() if any(trial.state == "running" for trial in members) else Done()
    at = min(trial.epoch for trial in paused)
    if any(trial.state == "running" and trial.until <= at for trial in members):
        return Wait()
    worst = _to_exploit(state, members, at)
    if worst:
        trial, donor = worst
        return Exploit(trial.number, donor.number, at, changed(state, donor, trial, at))
    next_ = next(trial for trial in paused if trial.epoch == at)
    return Resume(next_.number, min(at + step, epochs))


def _to_exploit(state: State, members: Sequence[Trial], at: int) -> tuple[Trial, Trial] | None:
    """The next of the worst that has not yet taken over at this epoch, and from whom."""
    there = sorted(
        (trial for trial in members if at in trial.reports or trial.epoch >= at),
        key=lambda trial: (_own_score(state, trial, at), trial.number),
    )
    share = max(1, int(len(there) * state.campaign.schedule.quantile)) if len(there) > 1 else 0
    worst, best = there[:share], there[::-1][:share]
    for place, trial in enumerate(worst):
        donor = best[place]
        if (
            not _has_taken_over(trial, at)
            and trial.state == "paused"
            and trial.epoch == at
            and at in donor.kept  # its own: not if it took over from another there
            and not _has_taken_over(donor, at)
            and _own_score(state, donor, at) > _own_score(state, trial, at)
        ):
            return trial, donor
    return None


def _has_taken_over(trial: Trial, at: int) -> bool:
    return any(exploit.epoch == at for exploit in trial.exploits)


def _own_score(state: State, trial: Trial, at: int) -> float:
    """What it had itself at an epoch, before it took over from another there."""
    return state.score(trial, at)


def changed(state: State, donor: Trial, trial: Trial, at: int) -> Mapping[str, Any]:
    """The donor's values, each a step up or down, or drawn anew: the same for the same campaign, trial and epoch.

    They fulfil the constraints; where no draw does, they stay the donor's.
    """
    space = state.campaign.dimensions
    rng = np.random.Generator(np.random.Philox(key=[state.campaign.search.seed, (trial.number << 32) + at]))
    for _ in range(ATTEMPTS):
        values = active(space, {one.key: _moved(one, donor.values.get(one.key), rng) for one in space})
        if state.allows(values):
            return values
    return donor.values


def _moved(dimension: Dimension, value: Any, rng: np.random.Generator) -> Any:
    up, anew, drawn = rng.random() < 0.5, rng.random() < REDRAWN, float(rng.random())
    if dimension.kind == "choice" and value is not None and not anew:
        return value
    if anew or not dimension.places(value):
        return dimension.at(drawn)
    share = dimension.share_of(value) + (STEP if up else -STEP)
    return dimension.at(min(max(share, 0.0), 1.0))
