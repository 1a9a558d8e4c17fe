"""Campaigns whose base recipe has a value that no trial can have, and what a population makes of it."""

from typing import Any

import pytest
from matplotlib import pyplot as plt
from simulate import play
from tune_drive import train
from tune_toys import CONFIG, SPACE, campaign

from rayox_platform.tune.campaign import dimension
from rayox_platform.tune.figures import figures
from rayox_platform.tune.pareto import front
from rayox_platform.tune.space_check import with_values

TOP_K = {"assigner.top_k": {"int": [5, 20]}}
AUTO = TOP_K | {"train.ema.ramp_steps": {"log": [10, 1000]}}
WORSE = [0.1] * 9


def base_with(**values: Any) -> dict[str, Any]:
    return with_values(CONFIG, {key.replace("__", "."): value for key, value in values.items()}).model_dump(mode="json")


def test_half_a_step_is_not_a_value_of_whole_steps():
    whole = dimension("assigner.center_radius", {"int": [1, 3]})
    assert [whole.has(value) for value in (1, 2.0, 1.5, 4, True, "auto", None)] == [True, True, *[False] * 5]
    settings = campaign("none", "tpe", 5, space=TOP_K | {"assigner.center_radius": {"int": [1, 3]}})
    state, _ = play(settings, base_with(assigner__center_radius=1.5), lambda values: [values["assigner.top_k"]] * 9)
    assert [trial.state for trial in state.trials] == ["finished"] * 5


@pytest.mark.parametrize(
    ("space", "base"),
    [
        (TOP_K | {"train.weight_decay": {"log": [1e-5, 1e-2]}}, {"train__weight_decay": 0.0}),
        (AUTO, {"train__ema__ramp_steps": "auto"}),
    ],
)
def test_who_takes_over_from_a_base_recipe_beside_the_scale_has_a_value_of_the_scale(space, base):
    key = next(key for key in space if key not in TOP_K)
    (unset,) = base.values()
    settings = campaign("pbt", "random", 4, space=space, schedule={"population": 4, "every": 3})
    state, _ = play(settings, base_with(**base), lambda values: [0.9] * 9 if values[key] == unset else WORSE)
    taken = [exploit.values for trial in state.trials for exploit in trial.exploits if exploit.donor == 0]
    assert taken
    low, high = space[key]["log"]
    assert all(low <= values[key] <= high for values in taken)


def test_a_population_keeps_to_the_constraints():
    settings = campaign("pbt", "random", 8, schedule={"every": 1}, constraints=["assigner.top_k <= 10"])
    state, _ = play(settings, CONFIG.model_dump(mode="json"), lambda values: [values["assigner.top_k"] / 20] * 9)
    taken = [exploit.values["assigner.top_k"] for trial in state.trials for exploit in trial.exploits]
    assert len(taken) > 10
    assert max(taken) <= 10


def test_a_base_recipe_that_leaves_a_range_to_rayox_has_its_pictures():
    state, _ = play(campaign("none", "random", 4, space=AUTO), base_with(), lambda values: WORSE)
    assert state.trials[0].values["train.ema.ramp_steps"] == "auto"
    try:
        made = figures(state)
        assert {"parallel", "slices"} <= made.keys()
        assert "auto" in [text.get_text() for text in made["parallel"].axes[0].texts]
        places = {axes.get_xlabel(): axes for axes in made["slices"].axes}
        assert "auto" in [tick.get_text() for tick in places["ramp_steps"].get_xticklabels()]
    finally:
        plt.close("all")


def test_two_metrics_and_hours_are_searched_for_from_the_first_trial_on(begin):
    """The time of the confirmation is asked for before any trial is whole."""
    metrics = {"AP": "max", "parameters": "min"}
    driver = begin(campaign("promote", "random", space=SPACE, metrics=metrics, budget={"trials": 3, "hours": 1.0}))
    assert front(driver.state) == []
    train(driver, driver.next_part())
    assert driver.next_part().trial == 1
