"""Which settings matter, by Optuna's PED-ANOVA (arXiv:2304.10255), for each metric; and why it cannot say of others."""

import math
import warnings

import numpy as np
import optuna
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.drawing import BLUE, GREEN, GREY, ORANGE
from rayox_platform.tune.space import Dimension
from rayox_platform.tune.study import frozen

ENOUGH = 8  # trials
COLOURS = (BLUE, GREEN, ORANGE, GREY)


def importance(state: State, scored: list[Trial]) -> Figure | None:
    """What tells the better trials from the others, of the last value of each metric that a trial reported."""
    found = {metric: shares for metric, shares in importances(state).items() if shares}
    if not found:
        return None
    names = list(next(iter(found.values())))[::-1]
    figure, axes = plt.subplots(figsize=(6.4, (0.25 + 0.2 * len(found)) * len(names) + 1.6), layout="constrained")
    places, height = np.arange(len(names)), 0.8 / len(found)
    for number, (metric, shares) in enumerate(found.items()):
        offset = 0.4 - height * (number + 0.5)
        widths = [shares.get(name, 0.0) for name in names]
        axes.barh(places + offset, widths, height, color=COLOURS[number % len(COLOURS)], label=metric)
    axes.set_yticks(places, names)
    axes.set_xlabel("share of what tells good trials from the others")
    axes.set_title("importance of each setting (PED-ANOVA)", fontsize=11)
    if len(state.campaign.metrics) > 1:
        axes.legend(fontsize=8)
    return figure


def importances(state: State) -> dict[str, dict[str, float]]:
    """By metric: the share of each setting, the largest first; empty where it cannot be told."""
    return {metric: _shares(state, metric) for metric in state.campaign.metrics}


def why_not(state: State) -> list[str]:
    """Sentences about the metrics and settings whose importance is not shown."""
    compared = _compared(state)
    said = []
    if len(compared) < len(state.campaign.dimensions):
        left_out = ", ".join(one.key for one in state.campaign.dimensions if one not in compared)
        said.append(f"The importance of {left_out} is not shown: only some trials have a value of it (`when`).")
    for metric in state.campaign.metrics:
        count = len(_known(state, metric))
        if count < ENOUGH:
            said.append(
                f"The importance of the settings for {metric} is not shown: that takes {ENOUGH} trials with {metric} "
                f"and values within the space, and there are {count}."
            )
        elif not _shares(state, metric):
            said.append(
                f"The importance of the settings for {metric} is not shown: the trials hardly differ in it, so "
                "PED-ANOVA cannot tell good ones from the others."
            )
    return said


def _compared(state: State) -> list[Dimension]:
    """Those that every trial has."""
    return [one for one in state.campaign.dimensions if not one.when]


def _known(state: State, metric: str) -> list[Trial]:
    """Trials with that metric and a value of each compared setting."""
    compared = _compared(state)
    return [
        trial
        for trial in state.search
        if trial.state != "failed"
        and math.isfinite(trial.score(metric, 1.0))
        and all(one.key in trial.values and one.has(trial.values[one.key]) for one in compared)
    ]


def _shares(state: State, metric: str) -> dict[str, float]:
    known, compared = _known(state, metric), _compared(state)
    values = [trial.score(metric, 1.0) for trial in known]
    if len(known) < ENOUGH or max(values) == min(values):
        return {}
    study = optuna.create_study(direction="maximize" if state.campaign.metrics[metric] == "max" else "minimize")
    for trial, reached in zip(known, values, strict=True):
        seen = frozen(state, trial, compared)
        study.add_trial(optuna.trial.create_trial(params=seen.params, distributions=seen.distributions, value=reached))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental, and of too few trials to tell
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    shares = {name: float(share) for name, share in found.items() if math.isfinite(share)}
    return shares if any(shares.values()) else {}
