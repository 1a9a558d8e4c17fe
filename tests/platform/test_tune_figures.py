"""What the pictures of a campaign say beside their axes."""

from matplotlib import pyplot as plt
from tune_toys import BASE, SPACE, campaign, curve

from rayox_platform.tune.figures import figures
from rayox_platform.tune.simulate import play


def test_every_axis_is_labelled_with_values_that_a_setting_can_have():
    space = SPACE | {"ema.decay": {"choice": [0.9999, 0.999, 0.99]}}
    state, _ = play(campaign("none", "random", trials=6, space=space), BASE, curve)
    made = figures(state)
    try:
        *_, weight, decay = made["slices"].axes
        assert [tick.get_text() for tick in weight.get_xticklabels()] == ["0.5", "2.2", "10"]
        assert weight.get_xlim()[0] < 0.5 < 10 < weight.get_xlim()[1]
        names = [tick.get_text() for tick in decay.get_xticklabels()]
        assert names[:3] == ["0.9999", "0.999", "0.99"], "in the order of the campaign, not in that of the trials"
        made["history"].canvas.draw()
        assert all(float(place).is_integer() for place in made["history"].axes[0].get_xticks())
    finally:
        plt.close("all")
