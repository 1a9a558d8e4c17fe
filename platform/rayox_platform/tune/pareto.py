"""Trials of several metrics: those that no other one beats in all of them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rayox_platform.tune.campaign_state import State, Trial


def front(state: State) -> list[Trial]:
    """Whole trials of the search, none of which another one equals or beats in each metric and beats in one."""
    names, directions = list(state.campaign.metrics), state.campaign.directions
    signs = np.array([1.0 if wanted == "max" else -1.0 for wanted in directions])
    whole = [trial for trial in state.search if trial.state == "finished" and _known(trial, names)]
    points = np.array([[trial.reports[trial.epoch][name] for name in names] for trial in whole]).reshape(-1, len(names))
    points *= signs
    return [trial for place, trial in enumerate(whole) if not is_beaten(points, place)]


def is_beaten(points: np.ndarray, place: int) -> bool:
    """Whether a row of points, the higher the better, is behind another one in something and nowhere before it."""
    return bool(np.any(np.all(points >= points[place], axis=1) & np.any(points > points[place], axis=1)))


def _known(trial: Trial, names: Sequence[str]) -> bool:
    report: Mapping[str, float] = trial.reports.get(trial.epoch, {})
    return all(math.isfinite(report.get(name, math.nan)) for name in names)
