"""Pictures of a campaign that have the searched settings as axes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.drawing import (
    BAND_ALPHA,
    ORANGE,
    STATE_COLOURS,
    base_value,
    draw_base,
    legend_below,
    named,
    noise,
    value,
)
from rayox_platform.tune.space import Dimension
from rayox_platform.tune.table import setting_names

MOST_SLICES = 8
BESIDE = 0.16  # of an axis: how far from it a value stands that is not on it
MARGIN = 0.06  # of an axis, at both ends
LOWEST = -0.2  # of an axis with such a value


def parallel_coordinates(state: State, scored: list[Trial]) -> Figure | None:
    """Every trial as a line through its values; the greener the better."""
    space = state.campaign.dimensions
    whole = [trial for trial in scored if all(one.key in trial.values for one in space)]
    if len(space) < 2 or not whole:
        return None
    figure, axes = plt.subplots(figsize=(max(6.0, 1.6 * len(space) + 2), 4.4), layout="constrained")
    scores = [state.score(trial) for trial in whole]
    low, high = min(scores), max(scores)
    unset = set()
    for trial, score in sorted(zip(whole, scores, strict=True), key=lambda pair: pair[1]):
        shares = [_share(one, trial.values[one.key]) for one in space]
        unset |= {place for place, one in enumerate(space) if not _stands_on(one, trial.values[one.key])}
        strength = (score - low) / (high - low) if high > low else 1.0
        axes.plot([*shares, strength], c=plt.get_cmap("viridis")(strength), lw=0.8 + 1.6 * strength, alpha=0.85)
    ends = [(named(one.ends()[0]), named(one.ends()[-1])) for one in space]
    ends.append((f"{state.sign * low:.3f}", f"{state.sign * high:.3f}"))
    for place, (first, last) in enumerate(ends):
        axes.plot([place, place], [0, 1], c="black", lw=0.6)
        axes.text(place + 0.03, -0.02, first, ha="left", va="top", fontsize=8)
        axes.text(place, 1.03, last, ha="center", va="bottom", fontsize=8)
        if place in unset:
            axes.text(place + 0.03, -BESIDE, _beside_name(space[place], whole), ha="left", va="top", fontsize=8)
    _base_at_the_end(state, axes, len(space), low, high)
    legend_below(figure)
    axes.set_xticks(range(len(ends)), [*setting_names(state), state.campaign.first_metric], fontsize=9)
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_yticks([])
    axes.set_ylim(LOWEST if unset else -0.02, 1.02)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("settings of every trial", fontsize=11, pad=22)
    return figure


def _base_at_the_end(state: State, axes: Axes, place: int, low: float, high: float) -> None:
    """The base recipe's noise on the axis of the metric, as far as that goes."""
    metric = state.campaign.first_metric
    middle, found = base_value(state, metric), noise(state, metric)
    if middle is None or not found or high <= low:
        return
    ends = [(state.sign * middle + step - low) / (high - low) for step in (-found.deviation, found.deviation)]
    bottom, top = (min(max(end, 0.0), 1.0) for end in ends)
    axes.plot([place, place], [bottom, top], c=ORANGE, lw=9, alpha=2 * BAND_ALPHA, solid_capstyle="butt")
    axes.plot([], [], c=ORANGE, lw=9, alpha=2 * BAND_ALPHA, label=str(found))


def slices(state: State, scored: list[Trial]) -> Figure:
    """The metric over each setting alone."""
    space = state.campaign.dimensions[:MOST_SLICES]
    across = min(len(space), 4)
    down = math.ceil(len(space) / across)
    figure, grid = plt.subplots(
        down,
        across,
        figsize=(max(3.1 * across, 5.0), 2.7 * down + 0.3),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for axes, one, name in zip(grid.flat, space, setting_names(state), strict=False):
        shown = [trial for trial in scored if one.key in trial.values]
        place = _scaled(axes, one, [trial.values[one.key] for trial in shown])
        draw_base(state, axes)
        for trial in shown:
            axes.scatter([place(trial.values[one.key])], [value(state, trial)], s=18, c=STATE_COLOURS[trial.state])
        if shown and shown[0].number == 0:
            axes.axvline(place(shown[0].values[one.key]), c=ORANGE, lw=1, ls="--")
        axes.set_xlabel(name, fontsize=9)
    for axes in list(grid.flat)[len(space) :]:
        axes.set_visible(False)
    grid[0][0].set_ylabel(state.campaign.first_metric)
    legend_below(figure)
    figure.suptitle("the metric over each setting", fontsize=11)
    return figure


def _scaled(axes: Axes, one: Dimension, values: list[Any]) -> Callable[[Any], float]:
    """Give an axis the scale of a setting; where on it a value stands.

    A choice of the base recipe alone comes last. What has no place on a range, such as no value at all, stands beside
    it under its name.
    """
    if one.kind == "choice":
        choices = [*one.choices, *(given for given in values[:1] if given not in one.choices)]
        axes.set_xticks(range(len(choices)), [named(choice) for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
        return choices.index
    on_it = [given for given in values if _stands_on(one, given)]
    others = [given for given in values if not _stands_on(one, given)]
    low, high = min([one.low, *on_it]), max([one.high, *on_it])

    def moved(start: float, share: float) -> float:
        return float(start * (high / low) ** share if one.kind == "log" else start + share * (high - low))

    beside, ticks = moved(low, -BESIDE), {}
    if one.kind == "log":
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = {float(tick): f"{tick:.2g}" for tick in np.geomspace(one.low, one.high, 3)}
    elif others:
        ticks = {float(end): named(end) for end in one.ends()}
    if one.kind == "int":
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if others:
        ticks = {beside: named(others[0])} | ticks
    if ticks:
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlim(moved(beside if others else low, -MARGIN), moved(high, MARGIN))
    return lambda given: float(given) if _stands_on(one, given) else beside


def _stands_on(one: Dimension, given: Any) -> bool:
    """Whether a value has a place on the axis of a setting, be it beyond the range."""
    return one.kind == "choice" or one.places(given)


def _beside_name(one: Dimension, trials: list[Trial]) -> str:
    return named(next(trial.values[one.key] for trial in trials if not _stands_on(one, trial.values[one.key])))


def _share(one: Dimension, given: Any) -> float:
    """Base values outside of the space lie at its end; what has no place on the axis lies below it."""
    if one.kind == "choice":
        return one.share_of(given) if given in one.choices else 0.0
    return min(max(one.share_of(given), 0.0), 1.0) if _stands_on(one, given) else -BESIDE
