"""The simulator of searches, against what can be reckoned by hand, and curves that stand in for trainings."""

import itertools

import pytest
from learning_table import LearningTable, Recorded
from simulate import play
from tune_toys import BASE, campaign, curve


def test_whole_trials_cost_all_their_epochs_and_the_best_never_falls():
    state, spent = play(campaign("none", "random", trials=5), BASE, curve, slots=1)
    assert [epochs for epochs, _ in spent] == [9, 18, 27, 36, 45]
    assert [best for _, best in spent] == sorted(best for _, best in spent)
    assert spent[-1][1] == max(curve(trial.values)[-1] for trial in state.trials)
    assert state.last - state.began == 45


def test_slots_share_the_time_and_not_the_epochs():
    for slots, seconds in ((1, 54), (2, 27), (6, 9)):
        state, _ = play(campaign("none", "random", trials=6), BASE, curve, slots)
        assert state.epochs_trained == 54
        assert state.last - state.began == seconds


def test_promotion_costs_what_its_rungs_do():
    """Trials come in the order of their quality: with the best first, one in three goes on, and no more."""
    quality = itertools.count()
    given: dict[str, float] = {}

    def falling(values):
        score = given.setdefault(str(sorted(values.items())), 1.0 / (1 + next(quality)))
        return [score] * 9

    state, _ = play(campaign("promote", "random", trials=27), BASE, falling, slots=1)
    assert state.epochs_trained == 27 * 1 + 9 * 2 + 3 * 6


@pytest.fixture
def table():
    space = campaign().dimensions
    recorded = []
    for radius, top_k, weight in itertools.product((0.5, 2.0, 3.5), (5, 12, 20), (0.5, 2.2, 10.0)):
        values = {
            "assigner.center_radius": radius,
            "assigner.top_k": top_k,
            "assigner.iou_cost_weight": weight,
        }
        recorded.append(Recorded(values, curve(values)))
    return LearningTable(space, recorded)


def test_a_table_gives_the_curve_of_the_nearest_setting(table):
    for one in table.recorded:
        assert table.curve(one.values) == list(one.curve)
    near = {"assigner.center_radius": 1.9, "assigner.top_k": 13, "assigner.iou_cost_weight": 2.0}
    exact = {"assigner.center_radius": 2.0, "assigner.top_k": 12, "assigner.iou_cost_weight": 2.2}
    assert table.curve(near) == curve(exact)


def test_no_search_finds_more_than_the_table_has_and_one_of_every_point_finds_that(table):
    for kind in ("random", "tpe"):
        _, spent = play(campaign("promote", kind, trials=20), BASE, table.curve)
        assert spent[-1][1] <= table.best
    _, spent = play(campaign("none", "grid", trials=28, searcher={"points": 3}), BASE, table.curve)
    assert spent[-1][1] == pytest.approx(table.best)
