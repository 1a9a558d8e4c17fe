"""What the pictures of a campaign say beside their axes."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from simulate import play
from tune_confirmed import HARDER, confirmed
from tune_toys import BASE, SPACE, campaign, curve

from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.drawing import ORANGE, noise
from rayox_platform.tune.figures import figures, learning_curves

BAND = "± 1 standard deviation of the base recipe over 3 seeds"
UNSET = {"train.clip_grad_norm": {"log": [5, 50]}, "assigner.top_k": {"int": [5, 20]}}  # off in the base recipe


@contextmanager
def drawn(state: State) -> Iterator[dict[str, Figure]]:
    """The figures, closed at the end."""
    try:
        yield figures(state)
    finally:
        plt.close("all")


def clipped(values: Mapping[str, Any]) -> list[float]:
    return [(values["assigner.top_k"] + (values.get("train.clip_grad_norm") or 0) / 10) * at / 500 for at in range(9)]


def values_of(state: State) -> set[float]:
    return {trial.values["train.ema.decay"] for trial in state.search}


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def spans(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Of the bands: left, right, bottom and top."""
    boxes = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
    return [(box.x0, box.x1, box.y0, box.y1) for box in boxes]


def test_every_axis_is_labelled_with_values_that_a_setting_can_have():
    space = SPACE | {"train.ema.decay": {"choice": [0.99995, 0.99994, 0.99]}}
    state, _ = play(campaign("none", "random", trials=6, space=space), BASE, curve)
    with drawn(state) as made:
        *_, weight, decay = made["slices"].axes
        assert [tick.get_text() for tick in weight.get_xticklabels()] == ["0.5", "2.2", "10"]
        assert weight.get_xlim()[0] < 0.5 < 10 < weight.get_xlim()[1]
        assert [tick.get_text() for tick in decay.get_xticklabels()][2:] == ["0.99", "0.9998"], "the base's own last"
        places = {round(float(dots.get_offsets()[0][0])) for dots in decay.collections}
        wanted = {place for place, value in enumerate([0.99995, 0.99994, 0.99, 0.9998]) if value in values_of(state)}
        assert places == wanted, "each choice has its own place, however alike they look"
        made["history"].canvas.draw()
        assert all(float(place).is_integer() for place in made["history"].axes[0].get_xticks())


@pytest.mark.parametrize(
    ("key", "given", "value", "name"),
    [
        ("clip_grad_norm", {"log": [5, 50]}, None, "none"),
        ("clip_grad_norm", {"float": [5, 50]}, None, "none"),
        ("weight_decay", {"log": [1e-4, 0.1]}, 0.0, "0"),
    ],
)
def test_a_base_recipe_whose_value_is_not_on_the_axis_stands_beside_it_with_its_name(key, given, value, name):
    config = BASE | {"train": BASE["train"] | {key: value}}
    state, _ = play(campaign("none", "random", trials=3, space={f"train.{key}": given} | SPACE), config, curve)
    (low, high) = next(iter(given.values()))
    with drawn(state) as made:
        axes = made["slices"].axes[0]
        place = float(axes.collections[0].get_offsets()[0][0])
        assert axes.get_xlim()[0] < place < low < high < axes.get_xlim()[1]
        ticks = dict(zip(axes.get_xticks(), [tick.get_text() for tick in axes.get_xticklabels()], strict=True))
        assert ticks[place] == name
        assert name in [text.get_text() for text in made["parallel"].axes[0].texts]


@pytest.mark.slow
def test_nothing_of_an_unset_base_value_hides_the_other_trials():
    with drawn(confirmed(campaign("promote", "tpe", trials=12, space=UNSET), clipped)) as made:
        assert {"history", "curves", "parallel", "importance", "slices", "cost", "spent"} <= set(made)
        assert len(made["slices"].axes[0].collections) == 12
        for figure in made.values():
            figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_the_band_is_the_noise_of_the_confirmation_around_the_trial_of_the_search():
    state = confirmed()
    base = state.score(state.search[0])
    assert noise(state, "AP") == (pytest.approx(0.02), 3)
    with drawn(state) as made:
        for name in ("history", "cost", "spent"):
            ((_, _, bottom, top),) = spans(made[name].axes[0])
            assert (bottom, top) == pytest.approx((base - 0.02, base + 0.02)), name
        for axes in made["slices"].axes[:3]:
            assert spans(axes)[0][2:] == pytest.approx((base - 0.02, base + 0.02))
        (curve,) = made["curves"].axes[0].collections
        heights = curve.get_paths()[0].vertices[:, 1]
        last = state.search[0].reports[state.search[0].epoch]["AP"]
        assert heights.max() == pytest.approx(last + 0.02)
        assert heights.min() > last - HARDER, "not where the confirmation's images are"
        end = [line for line in made["parallel"].axes[0].lines if line.get_color() == ORANGE and line.get_xdata().size]
        assert end[0].get_xdata().tolist() == [3, 3]
        for name, figure in made.items():
            assert BAND in labels(figure) or name == "importance", name


def test_the_band_is_there_for_both_metrics_of_a_front():
    state = confirmed(campaign("none", "random", trials=4, metrics={"AP": "max", "AP50": "max"}))
    for trial in state.trials:
        trial.reports = {at: {"AP": one["AP"], "AP50": one["AP"] * 2} for at, one in trial.reports.items()}
    with drawn(state) as made:
        level, upright = spans(made["pareto"].axes[0])
        base = state.score(state.search[0])
        assert level[2:] == pytest.approx((base - 0.02, base + 0.02))
        assert upright[:2] == pytest.approx((2 * base - 0.04, 2 * base + 0.04))
        assert BAND in labels(made["pareto"])


def test_without_a_confirmation_there_is_the_base_recipe_alone():
    state, _ = play(campaign("promote", "tpe", trials=6), BASE, curve)
    with drawn(state) as made:
        assert not spans(made["history"].axes[0])
        after = state.search[0].epoch
        assert after < 9
        assert f"base recipe (trial 0 after {after} epoch{'s' if after > 1 else ''})" in labels(made["history"])


@pytest.mark.parametrize(
    ("kind", "rungs"),
    [("promote", [1, 3]), ("asha", [1, 3]), ("hyperband", [1, 3]), ("median", [2, 4, 6, 8]), ("none", [])],
)
def test_the_rungs_stand_on_the_learning_curves(kind, rungs):
    state, _ = play(campaign(kind, "random", trials=4), BASE, curve)
    try:
        figure = learning_curves(state, state.search)
        lines = [line for line in figure.axes[0].lines if to_hex(line.get_color()) == "#000000"]
        assert [line.get_xdata()[0] for line in lines] == rungs
        assert ("rung" in labels(figure)) == bool(rungs)
    finally:
        plt.close("all")
