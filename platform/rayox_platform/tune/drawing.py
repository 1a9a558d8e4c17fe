"""What pictures of a campaign share: colours that the colour-blind can tell apart, axes, the base recipe."""

import math
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayox_platform.tune.campaign_state import State, Trial

BLUE, ORANGE, GREEN, GREY, RED = "#0072b2", "#e69f00", "#009e73", "#9a9a9a", "#d55e00"
STATE_COLOURS = {"finished": BLUE, "paused": GREY, "pruned": GREY, "failed": RED, "running": ORANGE, "planned": ORANGE}
BAND_ALPHA = 0.18


class Noise(NamedTuple):
    """By how much trainings of the base recipe differ in a metric."""

    deviation: float  # one standard deviation
    seeds: int

    def __str__(self) -> str:
        return f"± 1 standard deviation of the base recipe over {self.seeds} seeds"


def noise(state: State, metric: str) -> Noise | None:
    """From the base recipe's trainings in the confirmation; None where fewer than two of them are done.

    Only how far they lie apart is used: they are scored on other images than the search's trials.
    """
    again = [trial for trial in state.trials if trial.phase == "confirm" and trial.of == 0]
    scores = [trial.score(metric, 1.0) for trial in again if trial.epoch >= state.epochs]
    known = [score for score in scores if math.isfinite(score)]
    return Noise(float(np.std(known, ddof=1)), len(known)) if len(known) > 1 else None


def value(state: State, trial: Trial) -> float:
    return state.sign * state.score(trial)


def named(given: object) -> str:
    """A setting's value as a picture has it."""
    if given is None:
        return "none"
    return f"{given:.4g}" if isinstance(given, float) else str(given)


def base_value(state: State, metric: str) -> float | None:
    """What the base recipe's trial of the search had last."""
    score = state.search[0].score(metric, 1.0) if state.search else -math.inf
    return score if math.isfinite(score) else None


def draw_base(state: State, axes: Axes, metric: str = "", upright: bool = False) -> None:
    """The base recipe's trial as a line over the whole picture, and around it the noise once that is known.

    metric is the first one by default; upright: it is the one of the x axis.
    """
    metric = metric or state.campaign.first_metric
    middle, found = base_value(state, metric), noise(state, metric)
    if middle is None:
        return
    span, line = (axes.axvspan, axes.axvline) if upright else (axes.axhspan, axes.axhline)
    if found and found.deviation:
        low, high = middle - found.deviation, middle + found.deviation
        span(low, high, color=ORANGE, alpha=BAND_ALPHA, lw=0, label="" if upright else str(found))
    base = state.search[0]
    after = "" if base.epoch >= state.epochs else f" after {base.epoch} epoch{'s' if base.epoch > 1 else ''}"
    line(middle, c=ORANGE, lw=1, ls="--", label="" if upright else f"base recipe (trial 0{after})")


def titled_axes(state: State, below: str, title: str) -> tuple[Figure, Axes]:
    """A figure with the first metric upwards."""
    figure, axes = plt.subplots(figsize=(7.2, 4.3), layout="constrained")
    axes.set_xlabel(below)
    axes.set_ylabel(state.campaign.first_metric)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    return figure, axes


def legend_below(figure: Figure) -> None:
    """What is labelled in its first picture, under all of them, where it hides nothing."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", fontsize=8, frameon=False, ncols=3)
