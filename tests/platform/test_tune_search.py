"""The searcher: a pure function of the campaign's state, and better than drawing blindly."""

from itertools import islice, pairwise

import pytest
from optuna.trial import TrialState
from simulate import play
from tune_toys import BASE, SPACE, campaign, curve, quality

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.budget import why_no_more
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Finished, Opened, Paused, Planned, Reported, Started
from rayox_platform.tune.search import grid, suggest
from rayox_platform.tune.study import MODELLED, common_level, study_of, with_fewer

KINDS = ("random", "grid", "tpe", "gp", "nsga2")
PUBLISHED = {"assigner.center_radius": 1.5, "assigner.top_k": 10, "assigner.iou_cost_weight": 3.0}


def begun(settings: Campaign) -> State:
    state = State()
    state.apply(Opened(campaign=settings.model_dump(mode="json"), config=BASE, version="0"), 1.0)
    return state


def tried(state: State, score: float | None = None) -> dict:
    """Ask for a trial and train it whole; one without a score goes on running."""
    found, number = suggest(state), len(state.trials)
    planned = Planned(trial=number, values=found.values, seed=0, run=f"t{number}", attributes=found.attributes)
    state.apply(planned, 1.0)
    state.apply(Started(trial=number, until=9), 1.0)
    if score is not None:
        state.apply(Reported(trial=number, epoch=9, metrics={"AP": score}), 1.0)
        state.apply(Finished(trial=number), 1.0)
    return dict(found.values)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_trial_is_the_base_recipe_and_all_lie_in_the_space(kind):
    state = begun(campaign("none", kind, trials=9, searcher={"startup": 4, "population": 3}))
    for number in range(6):
        values = tried(state, quality(suggest(state).values))
        if number == 0:
            assert values == PUBLISHED
        assert all(one.has(values[one.key]) for one in state.campaign.dimensions)
        assert isinstance(values["assigner.top_k"], int)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_trial_follows_from_the_records_alone(kind):
    """A driver that begins from the ledger asks for the very trial that the dead one would have asked for."""
    settings = campaign("none", kind, trials=9, searcher={"startup": 3, "population": 3})
    state, events = begun(settings), []
    for _ in range(5):
        tried(state, quality(suggest(state).values))
        events.append(suggest(state).values)
    again = begun(settings)
    for trial in state.trials:
        planned = Planned(
            trial=trial.number, values=trial.values, seed=0, run=trial.run, attributes=dict(trial.attributes)
        )
        again.apply(planned, 1.0)
        again.apply(Reported(trial=trial.number, epoch=9, metrics=trial.reports[9]), 1.0)
        again.apply(Finished(trial=trial.number), 1.0)
        assert suggest(again).values == events[trial.number]


def test_seeds_make_other_searches():
    searches = [play(campaign("none", "tpe", trials=6, seed=seed), BASE, curve).state for seed in (0, 1)]
    assert searches[0].trials[0].values == searches[1].trials[0].values
    assert all(one.values != other.values for one, other in list(zip(*[s.trials for s in searches], strict=True))[1:])


def test_running_trials_are_not_asked_for_again():
    state = begun(campaign("none", "tpe", trials=40, searcher={"startup": 3}))
    for _ in range(8):
        tried(state, quality(suggest(state).values))
    asked = [tried(state) for _ in range(6)]
    radii = sorted(values["assigner.center_radius"] for values in asked)
    assert min(b - a for a, b in pairwise(radii)) > 1e-3


def test_startup_trials_are_drawn_near_the_base_and_anywhere():
    state = begun(campaign("none", "tpe", trials=200, searcher={"startup": 200}))
    for _ in range(100):
        tried(state)
    radii = [trial.values["assigner.center_radius"] for trial in state.trials]
    near = sum(1.05 <= radius <= 1.95 for radius in radii) / 100
    assert 0.35 < near < 0.75, "evenly drawn it would be 0.3"
    assert max(radii) > 3
    assert min(radii) < 0.9


@pytest.mark.slow
def test_tpe_finds_more_than_chance_on_average():
    runs = range(8)
    found = {
        kind: sum(play(campaign("none", kind, 40, seed), BASE, curve).spent[-1][1] for seed in runs) / len(runs)
        for kind in ("tpe", "random")
    }
    assert found["tpe"] > found["random"]


def test_a_grid_is_every_point_once_in_a_mixed_order():
    state = begun(campaign("none", "grid", trials=1000, searcher={"points": 3}))
    points = list(grid(state))
    assert len(points) == 27
    assert {point["assigner.center_radius"] for point in points} == {0.5, 2.0, 3.5}
    while why_no_more(state) is None:
        tried(state, 0.5)
    assert len(state.trials) == 28
    assert why_no_more(state) == "the points of the grid"
    assert [trial.values for trial in state.trials[1:]] == points


@pytest.mark.slow
def test_with_rungs_gp_learns_from_all_trials_after_the_same_epoch():
    settings = campaign("promote", "gp", trials=40, searcher={"startup": 6})
    state = begun(settings)
    for number in range(9):
        values = suggest(state).values
        state.apply(Planned(trial=number, values=values, seed=0, run=f"t{number}"), 1.0)
        state.apply(Started(trial=number, until=1), 1.0)
        state.apply(Reported(trial=number, epoch=1, metrics={"AP": curve(values)[0]}), 1.0)
        state.apply(Paused(trial=number, epoch=1), 1.0)
    assert common_level(state, state.search) == 1
    assert [trial.value for trial in study_of(state).trials] == [curve(trial.values)[0] for trial in state.trials]
    asked = suggest(state).values
    assert quality(asked) > sorted(quality(trial.values) for trial in state.trials)[4], "above the median of those"


def test_gp_looks_at_the_best_trials_and_at_the_last_ones():
    """The time of a fit grows with the cube of them."""
    state = begun(campaign("none", "random", trials=400))
    for number in range(MODELLED + 100):
        tried(state, score=float((37 * number) % 1000))
    tried(state)
    fewer, every = with_fewer(study_of(state)).trials, study_of(state).trials
    assert len(every) == MODELLED + 101
    assert len(fewer) == MODELLED + 1
    assert fewer[-1].state == TrialState.RUNNING, "nobody asks again for what runs"
    kept = [trial.values[0] for trial in fewer[:-1]]
    assert set(sorted((trial.values[0] for trial in every[:-1]), reverse=True)[: MODELLED // 2]) <= set(kept)
    assert [trial.values[0] for trial in every[:-1]][-50:] == kept[-50:]
    few = begun(campaign("none", "random", trials=9))
    tried(few, 0.5)
    assert len(with_fewer(study_of(few)).trials) == 1


@pytest.mark.slow
def test_conditions_and_constraints_hold_for_every_trial():
    space = {
        "train.beta2": {"float": [0.9, 0.99], "when": {"train.optimizer": "adamw"}},
        "train.optimizer": {"choice": ["sgd", "adamw"]},
        "loss.iou": {"float": [1, 9]},
        "loss.classification": {"float": [0.5, 4]},
    }
    rules = ["loss.iou >= loss.classification", "loss.classification > 1"]
    for kind in KINDS:
        settings = {"space": space, "constraints": rules, "search": {"kind": kind, "startup": 3, "population": 4}}
        state = begun(Campaign.model_validate(settings | {"budget": {"trials": 30}}))
        values = [tried(state, 0.01 * number) for number in range(8)][1:]
        assert all(one["loss.iou"] >= one["loss.classification"] > 1 for one in values)
        assert all(("train.beta2" in one) == (one["train.optimizer"] == "adamw") for one in values)


def test_constraints_that_nothing_fulfils_are_said():
    state = begun(campaign("none", "tpe", constraints=["assigner.top_k > 20"]))
    tried(state, 0.1)
    with pytest.raises(ConfigError, match=r"of 200 drawn trials none fulfils assigner\.top_k > 20"):
        suggest(state)


def test_a_base_recipe_outside_of_the_space_is_still_trial_0():
    space = SPACE | {"assigner.top_k": {"int": [15, 20]}}
    state = begun(campaign("none", "tpe", space=space))
    assert tried(state, 0.1) == PUBLISHED
    assert "assigner.top_k" not in study_of(state).trials[0].params
    assert 15 <= tried(state)["assigner.top_k"] <= 20


def test_the_searcher_learns_from_an_earlier_campaign():
    earlier = play(campaign("none", "random", 40), BASE, curve).state
    known, blind = [], []
    for seed in range(6):
        state = begun(campaign("none", "tpe", 20, seed, searcher={"startup": 0}))
        tried(state, quality(PUBLISHED))
        known.append(quality(suggest(state, earlier).values))
        blind.append(quality(suggest(state).values))
    assert sum(known) > 1.3 * sum(blind)


def test_budgets_end_a_search():
    state = begun(campaign("none", "random", trials=50, budget={"trials": 50, "epochs": 20}))
    for _ in range(3):
        assert why_no_more(state) is None
        tried(state, 0.5)
    assert why_no_more(state) == "budget.epochs 20"
    stale = begun(campaign("none", "random", trials=50, stop_when={"no_gain_for": 3}))
    for score in (0.1, 0.5, 0.4, 0.3):
        tried(stale, score)
        assert why_no_more(stale) is None
    tried(stale, 0.5)
    assert why_no_more(stale) == "stop_when.no_gain_for 3"


def test_with_rungs_a_gain_is_one_after_as_many_epochs():
    """Trial 0 is trained whole first, and nobody after one epoch has as much."""
    state = begun(campaign("promote", "random", trials=50, stop_when={"no_gain_for": 2, "gain": 0.01}))

    def paused(score: float, state_of: str = "paused") -> str | None:
        number = len(state.trials)
        state.apply(Planned(trial=number, values={}, seed=0, run=f"t{number}"), 1.0)
        state.apply(Started(trial=number, until=1), 1.0)
        state.apply(Reported(trial=number, epoch=1, metrics={"AP": score}), 1.0)
        if state_of == "paused":
            state.apply(Paused(trial=number, epoch=1), 1.0)
        return why_no_more(state)

    paused(0.1)
    state.apply(Started(trial=0, until=9), 1.0)
    for epoch in range(2, 10):
        state.apply(Reported(trial=0, epoch=epoch, metrics={"AP": 0.1 * epoch}), 1.0)
    state.apply(Finished(trial=0), 1.0)
    for score in (0.12, 0.14, 0.145, 0.16, 0.16):
        assert paused(score) is None
    assert paused(0.99, "running") is None, "it has not ended"
    assert paused(0.1) == "stop_when.no_gain_for 2"


def test_a_big_grid_costs_a_suggestion_its_own_points_alone():
    """32,768 points: they were all made, each compared with all before it, for every suggestion."""
    choices = {f"augment.{name}": {"float": [0, 1]} for name in ("mosaic_prob", "mixup_prob", "hsv_prob")}
    state = begun(campaign("none", "grid", trials=40000, searcher={"points": 32}, space=choices))
    made = list(islice(grid(state), 3))
    tried(state, 0.5)
    assert [tried(state, 0.5) for _ in range(3)] == made
    assert len({tuple(sorted(point.items())) for point in grid(state)}) >= 32**3 - 1


def test_values_that_were_tried_are_not_tried_again_while_there_are_others():
    space = {"train.optimizer": {"choice": ["sgd", "adamw"]}, "assigner.top_k": {"int": [8, 10]}}
    for kind in ("random", "tpe"):
        state = begun(campaign("none", kind, trials=8, space=space, searcher={"startup": 2}))
        found = [tuple(sorted(tried(state, 0.5).items())) for _ in range(6)]
        assert len(set(found)) == 6, kind
        assert tuple(sorted(tried(state, 0.5).items())) in found, "nothing else is left"


def test_what_an_earlier_campaign_has_tried_takes_the_place_of_the_first_draws():
    earlier = play(campaign("none", "random", 40), BASE, curve).state
    state = begun(campaign("none", "tpe", 20, searcher={"startup": 10}))
    tried(state, 0.5)
    assert suggest(state, earlier).attributes, "the sampler's own"
    assert not suggest(state).attributes, "drawn"
    few = play(campaign("none", "random", 4), BASE, curve).state
    assert not suggest(state, few).attributes
