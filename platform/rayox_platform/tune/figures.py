"""A campaign as pictures, each for one question."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.costs import best_by_seconds, point_cost, price_of_hour, time_unit
from rayox_platform.tune.drawing import (
    BAND_ALPHA,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STATE_COLOURS,
    draw_base,
    legend_below,
    noise,
    titled_axes,
    value,
)
from rayox_platform.tune.importance import importance
from rayox_platform.tune.pareto import is_beaten
from rayox_platform.tune.rungs import interval, rungs
from rayox_platform.tune.setting_figures import parallel_coordinates, slices


def figures(state: State) -> dict[str, Figure]:
    """Those that there is something to show on, by name."""
    scored = [trial for trial in state.search if math.isfinite(state.score(trial))]
    if not scored:
        return {}
    makers: Mapping[str, Callable[[State, list[Trial]], Figure | None]] = {
        "history": history,
        "curves": learning_curves,
        "parallel": parallel_coordinates,
        "importance": importance,
        "slices": slices,
        "pareto": pareto,
        "cost": cost_of_trials,
        "spent": spent,
    }
    made = {name: make(state, scored) for name, make in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def history(state: State, scored: list[Trial]) -> Figure:
    """Every trial as it ended, and the best so far."""
    figure, axes = titled_axes(state, "trial", "what each trial came to")
    for name, colour in (("trained whole", BLUE), ("not trained whole", GREY)):
        chosen = [trial for trial in scored if (trial.state == "finished") == (colour == BLUE)]
        if chosen:
            numbers, values = [trial.number for trial in chosen], [value(state, trial) for trial in chosen]
            axes.scatter(numbers, values, c=colour, s=26, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    leaders = [trial for trial in scored if trial.state != "failed"]
    if leaders:
        best = np.maximum.accumulate([state.score(trial) for trial in leaders])
        axes.step([trial.number for trial in leaders], state.sign * best, where="post", c=GREEN, label="best so far")
    draw_base(state, axes)
    legend_below(figure)
    return figure


def learning_curves(state: State, scored: list[Trial]) -> Figure:
    """Each trial's metric by epoch, and the epochs at which they are judged; whoever went on stands out."""
    figure, axes = titled_axes(state, "epoch", "how the trials learned")
    best = state.best
    for number, epoch in enumerate(judged_at(state)):
        axes.axvline(epoch, c="black", lw=0.6, ls=":", alpha=0.7, label="" if number else "rung")
    for trial in scored:
        epochs, values = _curve(state, trial)
        kind = (GREEN, 2.2) if trial is best else (BLUE, 1.2) if trial.state == "finished" else (GREY, 0.7)
        axes.plot(epochs, values, c=kind[0], lw=kind[1], marker="o", ms=2.5, zorder=3 if trial is best else 2)
    if best:
        axes.plot([], [], c=GREEN, lw=2.2, label=f"trial {best.number}, the best")
    axes.plot([], [], c=BLUE, label="trained whole")
    if any(trial.state != "finished" for trial in scored):
        axes.plot([], [], c=GREY, lw=0.7, label="not trained whole")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _base_curve(state, axes)
    legend_below(figure)
    return figure


def judged_at(state: State) -> tuple[int, ...]:
    """The epochs at which the schedule decides who goes on."""
    schedule, epochs = state.campaign.schedule, state.epochs
    match schedule.kind:
        case "none":
            return ()
        case "median" | "pbt":
            step = interval(schedule, epochs)
            return tuple(range(step, epochs, step))
        case _:
            return rungs(schedule, epochs)[:-1]


def _curve(state: State, trial: Trial) -> tuple[list[int], list[float]]:
    metric = state.campaign.first_metric
    epochs = [epoch for epoch in sorted(trial.reports) if metric in trial.reports[epoch]]
    return epochs, [trial.reports[epoch][metric] for epoch in epochs]


def _base_curve(state: State, axes: Axes) -> None:
    """The base recipe's own curve with the noise around it."""
    epochs, values = _curve(state, state.search[0])
    found = noise(state, state.campaign.first_metric)
    if len(epochs) < 2:
        draw_base(state, axes)
        return
    axes.plot(epochs, values, c=ORANGE, lw=1.4, ls="--", zorder=4, label="base recipe (trial 0)")
    if found:
        low, high = np.array(values) - found.deviation, np.array(values) + found.deviation
        axes.fill_between(epochs, low, high, color=ORANGE, alpha=BAND_ALPHA, lw=0, label=str(found))


def pareto(state: State, scored: list[Trial]) -> Figure | None:
    """Two metrics against each other, and the trials that no other one beats in both."""
    names = list(state.campaign.metrics)
    whole = [trial for trial in scored if all(name in trial.reports[trial.epoch] for name in names[:2])]
    if len(names) < 2 or not whole:
        return None
    signs = [1.0 if direction == "max" else -1.0 for direction in state.campaign.directions[:2]]
    points = np.array([[trial.reports[trial.epoch][name] for name in names[:2]] for trial in whole])
    front = [bool(not is_beaten(points * signs, place)) for place in range(len(points))]
    figure, axes = titled_axes(state, names[1], "what no other trial beats in both")
    draw_base(state, axes)
    draw_base(state, axes, names[1], upright=True)
    axes.scatter(points[:, 1], points[:, 0], c=[GREEN if best else GREY for best in front], s=30, zorder=3)
    best = points[np.array(front)]
    best = best[np.argsort(best[:, 1])]
    axes.plot(best[:, 1], best[:, 0], c=GREEN, lw=1, label="not beaten in both")
    legend_below(figure)
    return figure


def cost_of_trials(state: State, scored: list[Trial]) -> Figure | None:
    """What each trial came to over the time that it trained."""
    if not any(trial.seconds for trial in scored):
        return None
    unit, name = time_unit(max(trial.seconds for trial in scored))
    figure, axes = titled_axes(state, f"{name} of training", "what each trial cost")
    for kind in dict.fromkeys(trial.state for trial in scored):
        chosen = [trial for trial in scored if trial.state == kind]
        spent_time = [trial.seconds / unit for trial in chosen]
        axes.scatter(spent_time, [value(state, trial) for trial in chosen], c=STATE_COLOURS[kind], s=26, label=kind)
    axes.set_xlim(left=0)
    draw_base(state, axes)
    _priced(state, axes, unit)
    legend_below(figure)
    return figure


def spent(state: State, scored: list[Trial]) -> Figure | None:
    """The best value over the time of training that it took: what a point of it costs."""
    known = best_by_seconds(state, scored)
    if len(known) < 2:
        return None
    cost = point_cost(state)
    unit, name = time_unit(known[-1][0])
    title = f"what it cost: {cost.per_point()} for a point of {cost.metric}" if cost else "what it cost"
    figure, axes = titled_axes(state, f"{name} of training over all trials", title)
    seconds, best = zip(*known, strict=True)
    axes.step(np.array(seconds) / unit, best, where="post", c=GREEN, label="best so far")
    axes.set_xlim(left=0)
    draw_base(state, axes)
    _priced(state, axes, unit)
    legend_below(figure)
    return figure


def _priced(state: State, axes: Axes, unit: float) -> None:
    """A second axis in money where training has a price; unit is that of the first, in seconds."""
    price = price_of_hour(state) * unit / 3600
    if price:
        into_money = (lambda time: np.multiply(time, price), lambda money: np.divide(money, price))
        above = axes.secondary_xaxis("top", functions=into_money)
        above.set_xlabel("in money", fontsize=9)
