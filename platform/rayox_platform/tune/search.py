"""The next trial's values, by Optuna's ask and tell: a pure function of a campaign's state.

Each time a study is made anew from the trials, running ones included, and the sampler is seeded with how many there
are. So nothing of Optuna's has to outlive a driver, and a simulation suggests what a real campaign would.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.tune.campaign import Search
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.space import Dimension, Space, active

optuna.logging.set_verbosity(optuna.logging.ERROR)

ATTEMPTS = 200  # to find values that fulfil the constraints
MODEL_ATTEMPTS = 20  # of those by the sampler; then at random
MODELLED = 200  # trials that gp looks at: a third of a second an ask; of 1,000 it would be eight
REPEATS = 60  # suggestions of values that were tried before, until one is taken all the same
MODEL_REPEATS = 3  # of those by the sampler; then at random
NEAR = 0.15  # standard deviation around the base recipe's values, of a range


@dataclass(frozen=True)
class Suggestion:
    values: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)  # what the sampler wants back with the trial


def suggest(state: State, earlier: State | None = None) -> Suggestion:
    """The values of trial number len(state.trials): the base recipe's, then what the sampler asks for.

    earlier is another campaign over the same settings, whose trials the sampler learns from as well. Raises
    ConfigError when no values fulfil the constraints. What was tried before is suggested again only where hardly
    anything else is left. A grid must not be used up (see why_no_more).
    """
    number = len(state.search)
    space = state.campaign.dimensions
    if number == 0:
        return Suggestion(active(space, base_values(state)))
    search = state.campaign.search
    if search.kind == "grid":
        point = grid_point(state, number - 1)
        assert point is not None, "the grid is used up"
        return Suggestion(point)
    tried = {_key(trial.values) for trial in state.search}
    startup = 0 if earlier is not None and _is_model_enough(earlier, search) else search.startup
    again: Suggestion | None = None  # tried before
    num_again = 0
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([search.seed, number, attempt])
        at_random = number <= startup or search.kind == "random"
        if at_random or attempt >= MODEL_ATTEMPTS or num_again >= MODEL_REPEATS:
            near = search.kind != "random" and number <= startup and rng.random() < search.near_base
            found = Suggestion(drawn(state, rng, near))
        else:
            found = _asked(state, earlier, int(rng.integers(2**31)))
        if not state.allows(found.values):
            continue
        if _key(found.values) not in tried:
            return found
        again, num_again = again or found, num_again + 1
        if num_again >= REPEATS:
            break
    if again is not None:  # a space of few values
        return again
    raise ConfigError(
        f"constraints: of {ATTEMPTS} drawn trials none fulfils {', '.join(map(str, state.campaign.rules))}",
        "widen the space or drop a constraint",
    )


def _is_model_enough(earlier: State, search: Search) -> bool:
    """Whether the trials of an earlier campaign take the place of those drawn to begin with."""
    return sum(1 for trial in earlier.search if trial.reports and trial.state != "failed") >= search.startup


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def base_values(state: State) -> dict[str, Any]:
    """What the base recipe has for the searched settings."""
    values = dict(leaves(state.config, settings()))
    return {one.key: values.get(one.key) for one in state.campaign.dimensions}


def distribution(dimension: Dimension) -> BaseDistribution:
    match dimension.kind:
        case "int":
            return IntDistribution(int(dimension.low), int(dimension.high))
        case "choice":
            return CategoricalDistribution(tuple(_hashable(choice) for choice in dimension.choices))
        case _:
            return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log")


def study_of(state: State, earlier: State | None = None, seed: int = 0) -> optuna.Study:
    """All trials of the search as Optuna has them; a paused or pruned one is known by what it reported."""
    kinds = optuna.study.StudyDirection
    directions = [kinds.MAXIMIZE if wanted == "max" else kinds.MINIMIZE for wanted in state.campaign.directions]
    study = optuna.create_study(directions=directions, sampler=_sampler(state.campaign.search, seed))
    for source in (earlier, state):
        if source is not None:
            level = common_level(source)
            study.add_trials([frozen(source, trial, state.campaign.dimensions, level) for trial in source.search])
    return study


def common_level(state: State) -> int:
    """The last epoch that enough trials have come to for a model of them alone; 0 while there is none.

    gp and nsga2 know whole trials only, and at rungs few are: they look at all trials after the same epoch, the highest
    such one (as BOHB does, arXiv:1807.01774).
    """
    search, schedule = state.campaign.search, state.campaign.schedule
    if search.kind not in ("gp", "nsga2") or schedule.kind == "none" or len(state.campaign.metrics) > 1:
        return 0
    enough = max(len(state.campaign.space) + 1, search.startup if search.kind == "gp" else search.population)
    counts: dict[int, int] = {}
    for trial in state.search:
        for epoch in trial.reports if trial.state != "failed" else ():
            counts[epoch] = counts.get(epoch, 0) + 1
    return max((epoch for epoch, count in counts.items() if count >= enough), default=0)


def frozen(state: State, trial: Trial, space: Space, level: int = 0) -> FrozenTrial:
    """A trial as Optuna has it; values outside of the space, as the base recipe's may be, are left out.

    level is an epoch: the trial then counts as whole with what it had after that, and not at all without it.
    """
    params = {
        one.key: _hashable(trial.values[one.key])
        for one in space
        if one.key in trial.values and one.has(trial.values[one.key])
    }
    metric, names = state.campaign.first_metric, list(state.campaign.metrics)
    one_metric = len(names) == 1
    steps = {epoch: report[metric] for epoch, report in trial.reports.items() if math.isfinite(report.get(metric, nan))}
    last = trial.reports[max(trial.reports)] if trial.reports else {}
    values = [last.get(name, nan) for name in names]
    is_whole = trial.state == "finished" and all(map(math.isfinite, values))
    if level and trial.state in ("finished", "paused", "pruned"):
        is_whole, values = level in steps, [steps.get(level, nan)]
    states = {"planned": TrialState.RUNNING, "running": TrialState.RUNNING, "failed": TrialState.FAIL}
    kind = TrialState.COMPLETE if is_whole else states.get(trial.state, TrialState.PRUNED)
    if kind == TrialState.PRUNED and (not one_metric or not steps):
        kind = TrialState.FAIL
    return optuna.trial.create_trial(
        state=kind,
        values=values if is_whole else None,
        params=params,
        distributions={one.key: distribution(one) for one in space if one.key in params},
        system_attrs=dict(trial.attributes),
        intermediate_values=steps if one_metric else None,
    )


nan = math.nan


def _asked(state: State, earlier: State | None, seed: int) -> Suggestion:
    is_gp = state.campaign.search.kind == "gp"
    with warnings.catch_warnings(), _one_thread() if is_gp else nullcontext():
        warnings.simplefilter("ignore")  # of settings that Optuna calls experimental
        study = study_of(state, earlier, seed)
        if is_gp:
            study = with_fewer(study)
        trial = study.ask()
        chosen: dict[str, Any] = {}
        for one in state.campaign.dimensions:
            if one.is_active(chosen):
                chosen[one.key] = _suggested(trial, one)
    return Suggestion(chosen, dict(study.trials[-1].system_attrs))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch's threads wait for each other at each of many small steps, the longer the busier the machine is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def with_fewer(study: optuna.Study) -> optuna.Study:
    """The same with at most MODELLED whole trials: the better half of these are the best, the others the last ones."""
    whole = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if len(whole) <= MODELLED:
        return study
    sign = 1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else -1
    ranked = sorted(whole, key=lambda trial: -sign * trial.values[0])
    kept = {trial.number for trial in ranked[: MODELLED // 2]}
    kept |= {trial.number for trial in [one for one in whole if one.number not in kept][-(MODELLED - len(kept)) :]}
    fewer = optuna.create_study(directions=study.directions, sampler=study.sampler)
    fewer.add_trials([trial for trial in study.trials if trial.state != TrialState.COMPLETE or trial.number in kept])
    return fewer


def _suggested(trial: optuna.Trial, one: Dimension) -> Any:
    match one.kind:
        case "int":
            return trial.suggest_int(one.key, int(one.low), int(one.high))
        case "choice":
            names = [_hashable(choice) for choice in one.choices]
            return one.choices[names.index(trial.suggest_categorical(one.key, names))]
        case _:
            return trial.suggest_float(one.key, one.low, one.high, log=one.kind == "log")


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """Startup trials are drawn here, so the sampler begins at once with its model."""
    match search.kind:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.startup)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=search.population)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def drawn(state: State, rng: np.random.Generator, near: bool) -> dict[str, Any]:
    """Evenly over the space, or near the base recipe's values (a prior that pays, arXiv:2306.12370)."""
    base = base_values(state)
    values = {}
    for one in state.campaign.dimensions:
        share = float(rng.random())
        if near and one.has(base[one.key]):
            if one.kind == "choice":
                values[one.key] = base[one.key] if rng.random() < 0.5 else one.at(share)
                continue
            share = min(max(one.share_of(base[one.key]) + NEAR * float(rng.standard_normal()), 0.0), 1.0)
        values[one.key] = one.at(share)
    return active(state.campaign.dimensions, values)


def grid_point(state: State, index: int) -> dict[str, Any] | None:
    """A point of the grid, from 0; None beyond its last one."""
    return next(islice(grid(state), index, None), None)


def grid(state: State) -> Iterator[dict[str, Any]]:
    """Its points that fulfil the constraints, but the base recipe's, in an order that is mixed and always the same."""
    space, points = state.campaign.dimensions, state.campaign.search.points
    axes = [one.points(points) for one in space]
    count = math.prod(map(len, axes))
    found = {_key(active(space, base_values(state)))}
    for index in np.random.default_rng(state.campaign.search.seed).permutation(count):
        place, values = int(index), {}
        for one, axis in zip(space, axes, strict=True):
            place, at = divmod(place, len(axis))
            values[one.key] = axis[at]
        values = active(space, values)
        key = _key(values)
        if key not in found and state.allows(values):
            found.add(key)
            yield values


def _hashable(choice: Any) -> Any:
    """Optuna knows plain values alone; a list goes by its text."""
    return str(choice) if isinstance(choice, list | tuple | dict) else choice
