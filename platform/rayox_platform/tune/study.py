"""A campaign's trials as an Optuna study, as its samplers and others who read studies are to see them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rayox_platform.tune.campaign import Campaign, Search
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.space import Dimension, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

MODELLED = 200  # trials that gp looks at: a third of a second an ask; of 1,000 it would be eight
WHOLE = ("gp", "nsga2")  # searches that know whole trials alone
GENERATION = "NSGAIISampler:generation"  # as Optuna's nsga2 marks its trials
PARENTS = 2  # of a trial of nsga2
nan = math.nan


def distribution(dimension: Dimension) -> BaseDistribution:
    match dimension.kind:
        case "int":
            return IntDistribution(int(dimension.low), int(dimension.high))
        case "choice":
            return CategoricalDistribution(tuple(hashable(choice) for choice in dimension.choices))
        case _:
            return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log")


def directions(campaign: Campaign) -> list[optuna.study.StudyDirection]:
    kinds = optuna.study.StudyDirection
    return [kinds.MAXIMIZE if wanted == "max" else kinds.MINIMIZE for wanted in campaign.directions]


def study_of(state: State, earlier: State | None = None, seed: int = 0) -> optuna.Study:
    """All trials of the search as the sampler has them; a paused or pruned one is known by what it reported."""
    study = optuna.create_study(directions=directions(state.campaign), sampler=_sampler(state.campaign.search, seed))
    known = _known(state, earlier)
    level = common_level(state, known)
    trials = [frozen(state, trial, state.campaign.dimensions, level) for trial in known]
    if state.campaign.search.kind == "nsga2":
        _count_generations(trials)
    study.add_trials(trials)
    return study


def _count_generations(trials: Sequence[FrozenTrial]) -> None:
    """Number those anew that have whole trials: nsga2 takes two parents of the one before, which must have as many.

    At another level, or after failures, a generation may have none or one.
    """
    whole = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    numbers = sorted(trial.system_attrs[GENERATION] for trial in whole)
    later = sorted({number for number in numbers if number > numbers[min(PARENTS, len(numbers)) - 1]})
    for trial in whole:
        number = trial.system_attrs[GENERATION]
        trial.system_attrs[GENERATION] = later.index(number) + 1 if number in later else 0


def _known(state: State, earlier: State | None) -> list[Trial]:
    """The trials that the sampler is to see, as it is to see them."""
    before = earlier.search if earlier else []  # nothing of them runs here
    trials = [replace(one, state="paused") if one.state in ("planned", "running") else one for one in before]
    trials += state.search
    kind = state.campaign.search.kind
    if kind == "nsga2":  # those that were drawn here are of the first generation, too
        trials = [replace(one, attributes={GENERATION: 0} | dict(one.attributes)) for one in trials]
    if kind in WHOLE:  # they do not model a setting that one of their trials has no value of
        needed = [one for one in state.campaign.dimensions if not one.when]
        trials = [
            trial
            if all(one.key in trial.values and one.has(trial.values[one.key]) for one in needed)
            else replace(trial, state="failed")
            for trial in trials
        ]
    return trials


def common_level(state: State, trials: Sequence[Trial]) -> int:
    """The last epoch that enough trials have come to for a model of them alone; 0 while there is none.

    gp and nsga2 know whole trials only, and at rungs few are: they look at all trials after the same epoch, the highest
    such one (as BOHB does, arXiv:1807.01774).
    """
    search, schedule = state.campaign.search, state.campaign.schedule
    if search.kind not in WHOLE or schedule.kind == "none" or len(state.campaign.metrics) > 1:
        return 0
    enough = max(len(state.campaign.space) + 1, search.startup if search.kind == "gp" else search.population)
    counts: dict[int, int] = {}
    for trial in trials:
        for epoch, report in trial.reports.items() if trial.state != "failed" else ():
            counts[epoch] = counts.get(epoch, 0) + math.isfinite(report.get(state.campaign.first_metric, nan))
    return max((epoch for epoch, count in counts.items() if count >= enough), default=0)


def frozen(state: State, trial: Trial, space: Space, level: int = 0) -> FrozenTrial:
    """A trial as Optuna has it; values outside of the space, as the base recipe's may be, are left out.

    level is an epoch: the trial then counts as whole with what it had after that, and not at all without it.
    """
    params = {
        one.key: hashable(trial.values[one.key])
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


def hashable(choice: Any) -> Any:
    """Optuna knows plain values alone; a list goes by its text."""
    return str(choice) if isinstance(choice, list | tuple | dict) else choice
