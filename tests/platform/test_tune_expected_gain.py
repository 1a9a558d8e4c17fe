"""A campaign stops when nothing is expected to be gained any more: of curves whose best is known."""

import math

import numpy as np
import pytest
from simulate import play
from tune_toys import BASE, campaign, curve, quality

from rayox_platform.tune.expected_gain import expected_gain
from rayox_platform.tune.ledger_records import Failed, Planned, Reported, Started
from rayox_platform.tune.report import verdict

BEST = 0.3 * (1 - math.exp(-3))


def noisy(scatter: float, seed: int = 0, height: float = 0.3):
    """The toy curves, and as much luck for each setting, the same for all of its epochs."""
    luck: dict[str, float] = {}
    rng = np.random.default_rng(seed)

    def of(values):
        mine = luck.setdefault(str(sorted(values.items())), scatter * float(rng.standard_normal()))
        return [height * score + mine for score in curve(values)]

    return of


def left(state) -> float:
    """What the best whole trial lacks of the best there is."""
    return BEST - 0.3 * quality(state.best.values) * (1 - math.exp(-3))


@pytest.mark.slow
def test_what_is_expected_falls_with_what_there_is_to_gain():
    found = []
    for trials in (16, 48):
        state, _ = play(campaign("none", "tpe", trials=trials, seed=1), BASE, noisy(0.0))
        expected = expected_gain(state)
        assert left(state) / 3 < expected.gain < 3 * left(state) + 0.002, (trials, left(state), expected)
        found.append(expected.gain)
    assert found[1] < found[0] / 2


def test_a_grid_whose_constraints_nothing_drawn_fulfils_is_known_by_its_trials_alone():
    rules = ["assigner.center_radius == 3.5"]
    asked = campaign("none", "grid", trials=40, constraints=rules, searcher={"startup": 5})
    state, _ = play(asked, BASE, noisy(0.0))
    assert len(state.search) == 17
    assert expected_gain(state).gain >= 0
    assert "expected to add" in verdict(state)


def test_what_is_expected_follows_from_the_records_alone():
    """It was kept until the next epoch: a driver went on expecting much of a trial that has failed since."""
    state, _ = play(campaign("none", "random", trials=16), BASE, noisy(0.0))
    values = dict(state.best.values)
    state.apply(Planned(trial=16, values=values, seed=0, run="t16"), state.last)
    state.apply(Started(trial=16, until=9), state.last)
    state.apply(Reported(trial=16, epoch=9, metrics={"AP": 0.9}), state.last)
    before = expected_gain(state)
    state.apply(Failed(trial=16, why="out of memory", code="training"), state.last)
    after, state.expected = expected_gain(state), None
    assert after == expected_gain(state) != before


def test_too_few_trials_are_no_reason_to_stop():
    state, _ = play(campaign("none", "random", trials=12), BASE, noisy(0.0))
    assert expected_gain(state) is None, "ten at random, and three more in a row"
    assert "expected to add" not in verdict(state)


@pytest.mark.slow
def test_the_more_is_asked_for_the_longer_it_searches():
    ended = []
    for margin in (0.02, 0.005):
        asked = campaign("none", "tpe", trials=80, stop_when={"expected_gain": margin})
        state, _ = play(asked, BASE, noisy(0.003))
        assert state.expected[1].gain < margin
        assert left(state) < 3 * margin
        ended.append(len(state.search))
    assert 13 <= ended[0] <= ended[1] < 80


@pytest.mark.slow
def test_with_rungs_what_is_known_after_few_epochs_counts_as_well():
    """Most trials pause at the first rung: the gain is that of whole trainings all the same."""
    asked = campaign("promote", "tpe", trials=48, stop_when={"expected_gain": 0.02})
    state, _ = play(asked, BASE, noisy(0.003))
    assert 13 <= len(state.search) < 48
    assert f"All further trials together are expected to add {state.expected[1].gain:.4f} to that." in verdict(state)
    assert sum(trial.state == "finished" for trial in state.search) < len(state.search) / 2
    assert left(state) < 0.06


def test_where_no_setting_matters_the_search_ends_once_that_is_known():
    asked = campaign("none", "random", trials=80, stop_when={"below_noise": True})
    state, _ = play(asked, BASE, noisy(0.01, height=0.0))
    assert len(state.search) < 30
    gain, noise = state.expected[1]
    assert gain < noise
    assert noise == pytest.approx(0.01, rel=0.5)
