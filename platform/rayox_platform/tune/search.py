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

from rayox_model.core.errors import ConfigError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.tune.campaign import Search
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.space import Dimension, active
from rayox_platform.tune.study import hashable, study_of, with_fewer

ATTEMPTS = 200  # to find values that fulfil the constraints
MODEL_ATTEMPTS = 20  # of those by the sampler; then at random
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


def _suggested(trial: optuna.Trial, one: Dimension) -> Any:
    match one.kind:
        case "int":
            return trial.suggest_int(one.key, int(one.low), int(one.high))
        case "choice":
            names = [hashable(choice) for choice in one.choices]
            return one.choices[names.index(trial.suggest_categorical(one.key, names))]
        case _:
            return trial.suggest_float(one.key, one.low, one.high, log=one.kind == "log")


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
