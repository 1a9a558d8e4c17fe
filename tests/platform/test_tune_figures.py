"""What the pictures of a campaign say beside their axes."""

from matplotlib import pyplot as plt
from tune_toys import BASE, SPACE, campaign, curve

from rayox_platform.tune.figures import figures
from rayox_platform.tune.simulate import play
from rayox_platform.tune.state import State


def values_of(state: State) -> set[float]:
    return {trial.values["train.ema.decay"] for trial in state.search}


def test_every_axis_is_labelled_with_values_that_a_setting_can_have():
    space = SPACE | {"train.ema.decay": {"choice": [0.99995, 0.99994, 0.99]}}
    state, _ = play(campaign("none", "random", trials=6, space=space), BASE, curve)
    made = figures(state)
    try:
        *_, weight, decay = made["slices"].axes
        assert [tick.get_text() for tick in weight.get_xticklabels()] == ["0.5", "2.2", "10"]
        assert weight.get_xlim()[0] < 0.5 < 10 < weight.get_xlim()[1]
        assert [tick.get_text() for tick in decay.get_xticklabels()][2:] == ["0.99", "0.9998"], "the base's own last"
        places = {round(float(dots.get_offsets()[0][0])) for dots in decay.collections}
        wanted = {place for place, value in enumerate([0.99995, 0.99994, 0.99, 0.9998]) if value in values_of(state)}
        assert places == wanted, "each choice has its own place, however alike they look"
        made["history"].canvas.draw()
        assert all(float(place).is_integer() for place in made["history"].axes[0].get_xticks())
    finally:
        plt.close("all")


def test_a_base_recipe_with_0_stands_beside_a_logarithmic_axis():
    space = {"train.weight_decay": {"log": [1e-4, 0.1]}} | SPACE
    config = BASE | {"train": BASE["train"] | {"weight_decay": 0.0}}
    state, _ = play(campaign("none", "random", trials=3, space=space), config, curve)
    try:
        assert figures(state)["slices"].axes[0].get_xlim()[0] > 0
    finally:
        plt.close("all")
