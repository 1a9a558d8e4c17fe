"""A campaign as pictures, each for one question. Colours are of a palette that the colour-blind can tell apart."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import optuna
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rayox_platform.tune.search import study_of
from rayox_platform.tune.space import Dimension
from rayox_platform.tune.state import State, Trial
from rayox_platform.tune.table import columns

BLUE, ORANGE, GREEN, GREY, RED = "#0072b2", "#e69f00", "#009e73", "#9a9a9a", "#d55e00"
STATE_COLOURS = {"finished": BLUE, "paused": GREY, "pruned": GREY, "failed": RED, "running": ORANGE, "planned": ORANGE}
MOST_SLICES = 8


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
        "spent": spent,
    }
    made = {name: make(state, scored) for name, make in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def noise_band(state: State) -> tuple[float, float] | None:
    """Mean and twice the standard deviation of the base recipe over fresh seeds; None before they are trained."""
    own = [trial for trial in state.trials if trial.phase == "confirm" and trial.of == 0]
    scores = [state.sign * state.score(trial) for trial in own if math.isfinite(state.score(trial))]
    if len(scores) < 2:
        return None
    return float(np.mean(scores)), 2 * float(np.std(scores, ddof=1))


def history(state: State, scored: list[Trial]) -> Figure:
    """Every trial as it ended, and the best so far."""
    figure, axes = _axes(state, "trial", "what each trial came to")
    for name, colour in (("trained whole", BLUE), ("paused at a rung", GREY)):
        chosen = [trial for trial in scored if (trial.state == "finished") == (colour == BLUE)]
        axes.scatter(
            [trial.number for trial in chosen], [_value(state, trial) for trial in chosen], c=colour, s=26, label=name
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    best = np.maximum.accumulate([state.score(trial) for trial in scored])
    axes.step([trial.number for trial in scored], state.sign * best, where="post", c=GREEN, label="best so far")
    _base(state, axes)
    axes.legend(fontsize=8)
    return figure


def learning_curves(state: State, scored: list[Trial]) -> Figure:
    """Each trial's metric by epoch; whoever went on stands out."""
    figure, axes = _axes(state, "epoch", "how the trials learned")
    best = state.best
    for trial in scored:
        epochs = [epoch for epoch in sorted(trial.reports) if state.campaign.first_metric in trial.reports[epoch]]
        values = [trial.reports[epoch][state.campaign.first_metric] for epoch in epochs]
        kind = (GREEN, 2.2) if trial is best else (BLUE, 1.2) if trial.state == "finished" else (GREY, 0.7)
        axes.plot(epochs, values, c=kind[0], lw=kind[1], marker="o", ms=2.5, zorder=3 if trial is best else 2)
    if best:
        axes.plot([], [], c=GREEN, lw=2.2, label=f"trial {best.number}, the best")
    axes.plot([], [], c=BLUE, label="trained whole")
    axes.plot([], [], c=GREY, lw=0.7, label="paused at a rung")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _base(state, axes)
    axes.legend(fontsize=8)
    return figure


def parallel_coordinates(state: State, scored: list[Trial]) -> Figure | None:
    """Every trial as a line through its values; the greener the better."""
    space = state.campaign.dimensions
    whole = [trial for trial in scored if all(one.key in trial.values for one in space)]
    if len(space) < 2 or not whole:
        return None
    figure, axes = plt.subplots(figsize=(max(6.0, 1.6 * len(space) + 2), 4.2), layout="constrained")
    scores = [state.score(trial) for trial in whole]
    low, high = min(scores), max(scores)
    for trial, score in sorted(zip(whole, scores, strict=True), key=lambda pair: pair[1]):
        shares = [_share(one, trial.values[one.key]) for one in space]
        strength = (score - low) / (high - low) if high > low else 1.0
        axes.plot([*shares, strength], c=plt.get_cmap("viridis")(strength), lw=0.8 + 1.6 * strength, alpha=0.85)
    names = [*columns(state), state.campaign.first_metric]
    ends = [tuple(_short(end) for end in (one.ends()[0], one.ends()[-1])) for one in space]
    values = sorted(state.sign * score for score in (low, high))
    ends.append((f"{values[0]:.3f}", f"{values[-1]:.3f}"))
    for place, (first, last) in enumerate(ends):
        axes.axvline(place, c="black", lw=0.6)
        axes.text(place, -0.03, first, ha="center", va="top", fontsize=8)
        axes.text(place, 1.03, last, ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.02)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("settings of every trial", fontsize=11, pad=22)
    return figure


def importance(state: State, scored: list[Trial]) -> Figure | None:
    """What matters among the better trials, by Optuna's PED-ANOVA; of the last value that each trial reported."""
    shares = importances(state)
    if not shares:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 0.45 * len(shares) + 1.6), layout="constrained")
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=BLUE)
    axes.set_xlabel("share of what tells good trials from the others")
    axes.set_title("importance of each setting (PED-ANOVA)", fontsize=11)
    return figure


def importances(state: State) -> dict[str, float]:
    """By setting, the largest first; empty while there are too few trials to tell."""
    study = optuna.create_study(direction="maximize" if state.sign > 0 else "minimize")
    for trial in study_of(state).get_trials(deepcopy=False):
        values = [trial.value] if trial.values and len(trial.values) == 1 else list(trial.intermediate_values.values())
        if values and values[-1] is not None and len(trial.params) == len(state.campaign.space):
            study.add_trial(
                optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=values[-1])
            )
    if len(study.trials) < 8:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def slices(state: State, scored: list[Trial]) -> Figure:
    """The metric over each setting alone."""
    space = state.campaign.dimensions[:MOST_SLICES]
    across = min(len(space), 4)
    down = math.ceil(len(space) / across)
    figure, grid = plt.subplots(
        down, across, figsize=(3.1 * across, 2.7 * down), layout="constrained", sharey=True, squeeze=False
    )
    for axes, one, name in zip(grid.flat, space, columns(state), strict=False):
        shown = [trial for trial in scored if one.key in trial.values]
        place = _scaled(axes, one, [trial.values[one.key] for trial in shown])
        for trial in shown:
            axes.scatter([place(trial.values[one.key])], [_value(state, trial)], s=18, c=STATE_COLOURS[trial.state])
        if shown and shown[0].number == 0:
            axes.axvline(place(shown[0].values[one.key]), c=ORANGE, lw=1, ls="--")
        axes.set_xlabel(name, fontsize=9)
    for axes in list(grid.flat)[len(space) :]:
        axes.set_visible(False)
    grid[0][0].set_ylabel(state.campaign.first_metric)
    figure.suptitle("the metric over each setting (dashed: the base recipe)", fontsize=11)
    return figure


def _scaled(axes: Axes, one: Dimension, values: list[Any]) -> Callable[[Any], float]:
    """Give an axis the scale of a setting; where on it a value stands. A choice of the base recipe alone comes last."""
    if one.kind == "choice":
        choices = [*one.choices, *(value for value in values[:1] if value not in one.choices)]
        axes.set_xticks(range(len(choices)), [_short(choice) for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
        return choices.index
    if one.kind == "log":
        axes.set_xscale("log")
        low, high = one.low, one.high
        ticks = np.geomspace(low, high, 3)
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.minorticks_off()
        edge, shown = (high / low) ** 0.06, [value for value in values if value > 0]  # the base recipe may have 0
        axes.set_xlim(min(low, *shown) / edge, max(high, *shown) * edge)
    return float


def pareto(state: State, scored: list[Trial]) -> Figure | None:
    """Two metrics against each other, and the trials that no other one beats in both."""
    names = list(state.campaign.metrics)
    whole = [trial for trial in scored if all(name in trial.reports[trial.epoch] for name in names[:2])]
    if len(names) < 2 or not whole:
        return None
    signs = [1.0 if direction == "max" else -1.0 for direction in state.campaign.directions[:2]]
    points = np.array([[trial.reports[trial.epoch][name] for name in names[:2]] for trial in whole])
    front = [bool(not _is_beaten(points * signs, place)) for place in range(len(points))]
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    axes.scatter(points[:, 1], points[:, 0], c=[GREEN if best else GREY for best in front], s=30)
    best = points[np.array(front)]
    best = best[np.argsort(best[:, 1])]
    axes.plot(best[:, 1], best[:, 0], c=GREEN, lw=1)
    axes.set_xlabel(names[1])
    axes.set_ylabel(names[0])
    axes.set_title("what no other trial beats in both", fontsize=11)
    return figure


def spent(state: State, scored: list[Trial]) -> Figure | None:
    """The best value over the hours of training that it took: what a point of it costs."""
    told = sorted(
        (at, trial.number, epoch) for trial in scored for epoch, at in trial.told_at.items() if epoch in trial.reports
    )
    hours: list[float] = []
    best: list[float] = []
    total = 0.0
    for _, number, epoch in told:
        trial = state.trials[number]
        total += trial.seconds / max(len(trial.reports), 1) / 3600
        score = state.score(trial, epoch)
        best.append(max(score, best[-1] if best else -math.inf))
        hours.append(total)
    known = [(hour, state.sign * value) for hour, value in zip(hours, best, strict=True) if math.isfinite(value)]
    if len(known) < 2:
        return None
    figure, axes = _axes(state, "hours of training over all trials", "what it cost")
    axes.step([hour for hour, _ in known], [value for _, value in known], where="post", c=GREEN)
    _base(state, axes)
    return figure


def _axes(state: State, below: str, title: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    axes.set_xlabel(below)
    axes.set_ylabel(state.campaign.first_metric)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    return figure, axes


def _base(state: State, axes: Axes) -> None:
    """The base recipe as a line, and its scatter over seeds as a band once that is known."""
    band = noise_band(state)
    if band:
        mean, width = band
        axes.axhspan(mean - width, mean + width, color=ORANGE, alpha=0.18, lw=0, label="base recipe, ±2 σ over seeds")
        axes.axhline(mean, c=ORANGE, lw=1)
    elif state.search and math.isfinite(state.score(state.search[0])):
        axes.axhline(_value(state, state.search[0]), c=ORANGE, lw=1, ls="--", label="base recipe, one seed")


def _value(state: State, trial: Trial) -> float:
    return state.sign * state.score(trial)


def _share(one: Dimension, value: Any) -> float:
    """Base values outside of the space lie at its end."""
    if one.kind == "choice" and value not in one.choices:
        return 0.0
    return min(max(one.share_of(value), 0.0), 1.0) if one.kind != "log" or value > 0 else 0.0


def _is_beaten(points: np.ndarray[Any, np.dtype[np.float64]], place: int) -> bool:
    others = (points >= points[place]).all(axis=1) & (points > points[place]).any(axis=1)
    return bool(others.any())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
