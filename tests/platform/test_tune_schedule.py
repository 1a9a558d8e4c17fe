"""Schedules as pure decisions, played on curves that are known: who trains how long, and that nobody is forgotten."""

from collections import Counter

import pytest
from simulate import play
from tune_toys import BASE, campaign, curve

from rayox_platform.tune.campaign import Schedule
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Driven, Failed, Finished, Opened, Paused, Planned, Reported, Started
from rayox_platform.tune.moves import Begin, Done, Exploit, Prune, Resume, Wait
from rayox_platform.tune.rungs import brackets, rungs
from rayox_platform.tune.schedule import bracket_of, next_move

ALL = ("none", "asha", "promote", "median", "hyperband", "pbt")


def begun(settings) -> State:
    state = State()
    state.apply(Opened(campaign=settings.model_dump(mode="json"), config=BASE, version="0"), 1.0)
    return state


def trained(state: State, number: int, until: int, score: float) -> None:
    """Plan a trial if it is new, and train it to a rung."""
    if number == len(state.trials):
        state.apply(Planned(trial=number, values={}, seed=0, run=f"t{number}"), 1.0)
    state.apply(Started(trial=number, until=until), 1.0)
    for epoch in range(state.trials[number].epoch + 1, until + 1):
        state.apply(Reported(trial=number, epoch=epoch, metrics={"AP": score}), 1.0)
    ended = Finished(trial=number) if until == state.epochs else Paused(trial=number, epoch=until, checkpoint="c")
    state.apply(ended, 1.0)


def test_rungs_are_powers_of_eta_or_those_that_are_given():
    assert rungs(Schedule(), 9) == (1, 3, 9)
    assert rungs(Schedule(min_epochs=2), 9) == (2, 6, 9)
    assert rungs(Schedule(eta=2.0), 9) == (1, 2, 4, 8, 9)
    assert rungs(Schedule(rungs=(3,)), 9) == (3, 9)
    assert rungs(Schedule(), 1) == (1,)
    assert brackets(Schedule(), 9) == [(1, 3, 9), (3, 9), (9,)]


def test_hyperbands_brackets_get_trials_by_how_cheap_they_begin():
    found = brackets(Schedule(), 9)
    counts = Counter(bracket_of(number, found) for number in range(13))
    assert counts == {0: 9, 1: 3, 2: 1}


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("kind", ALL)
def test_every_schedule_comes_to_an_end_and_trains_no_epoch_twice(kind, slots):
    state, spent = play(campaign(kind, "random", trials=13), BASE, curve, slots)
    assert spent, "somebody was trained whole"
    assert all(trial.state in ("finished", "paused", "pruned") for trial in state.trials)
    assert state.epochs_trained == sum(trial.epoch for trial in state.trials)
    assert len(state.trials) == (8 if kind == "pbt" else 13)
    assert next_move(state, may_begin=False) == Done()
    if kind in ("none", "pbt"):
        assert all(trial.state == "finished" for trial in state.trials)
    else:
        assert state.epochs_trained < 13 * 9 * 0.8


@pytest.mark.parametrize("kind", ["promote", "asha", "hyperband"])
def test_the_best_of_curves_that_do_not_cross_is_trained_whole(kind):
    for seed in range(5):
        state, _ = play(campaign(kind, "random", trials=13, seed=seed), BASE, curve, 2)
        rest = [trial for trial in state.trials if kind != "hyperband" or bracket_of_trial(state, trial) == 0]
        best = max(rest, key=lambda trial: curve(trial.values)[-1])
        assert best.state == "finished"


def bracket_of_trial(state, trial):
    return bracket_of(trial.number, brackets(state.campaign.schedule, 9))


def test_promote_lets_one_in_eta_go_on_at_each_rung():
    state, _ = play(campaign("promote", "random", trials=27), BASE, curve, 1)
    reached = Counter(trial.epoch for trial in state.trials)
    assert sum(reached.values()) == 27
    assert 3 <= reached[9] <= 6, "3 if the best had come first; promoted early, later ones may be better still"
    assert 6 <= reached[3] + reached[9] <= 15


def test_promote_takes_up_whoever_is_later_found_among_the_best():
    state = begun(campaign("promote"))
    for number, score in enumerate((0.5, 0.4)):
        assert next_move(state, True) == Begin(1)
        trained(state, number, 1, score)
    assert next_move(state, True) == Begin(1), "one in three: nobody yet"
    trained(state, 2, 1, 0.3)
    assert next_move(state, True) == Resume(0, 3)
    trained(state, 0, 3, 0.6)
    for number in (3, 4, 5):
        assert next_move(state, True) == Begin(1)
        trained(state, number, 1, 0.2)
    assert next_move(state, True) == Resume(1, 3), "paused long ago, now among the two best of six"


def test_when_no_trial_begins_any_more_at_least_one_is_trained_whole():
    state = begun(campaign("promote"))
    for number in range(2):
        trained(state, number, 1, 0.1 * number)
    assert next_move(state, False) == Resume(1, 3)
    trained(state, 1, 3, 0.3)
    assert next_move(state, False) == Resume(1, 9)
    trained(state, 1, 9, 0.5)
    assert next_move(state, False) == Done()


def test_nobody_is_promoted_early_while_others_are_still_on_their_way_to_the_rung():
    state = begun(campaign("promote"))
    trained(state, 0, 1, 0.1)
    state.apply(Planned(trial=1, values={}, seed=0, run="t1"), 1.0)
    state.apply(Started(trial=1, until=1), 1.0)
    assert next_move(state, False) == Wait()


def test_asha_ends_a_trial_for_good_that_is_not_among_the_best():
    state = begun(campaign("asha"))
    trained(state, 0, 1, 0.5)
    assert next_move(state, True) == Resume(0, 3), "the first at a rung goes on"
    trained(state, 0, 3, 0.6)
    assert next_move(state, True) == Resume(0, 9)
    trained(state, 0, 9, 0.7)
    trained(state, 1, 1, 0.4)
    move = next_move(state, True)
    assert isinstance(move, Prune)
    assert move.trial == 1


def test_median_ends_what_is_below_the_others():
    state = begun(campaign("median", schedule={"every": 3, "min_trials": 3}))
    for number, score in enumerate((0.5, 0.6, 0.7)):
        trained(state, number, 9, score)
    trained(state, 3, 3, 0.65)
    assert next_move(state, True) == Resume(3, 6)
    trained(state, 3, 9, 0.65)
    trained(state, 4, 3, 0.55)
    move = next_move(state, True)
    assert isinstance(move, Prune)
    assert move.trial == 4


def test_pbt_waits_for_a_generation_and_then_the_worst_take_over_from_the_best():
    settings = campaign("pbt", schedule={"population": 4, "every": 3}, trials=4)
    state = begun(settings)
    values = {"assigner.center_radius": 2.0, "assigner.top_k": 10, "assigner.iou_cost_weight": 3.0}
    for number, score in enumerate((0.1, 0.3, 0.4)):
        trained(state, number, 3, score)
        state.trials[number].values = values
    state.apply(Planned(trial=3, values=values, seed=0, run="t3"), 1.0)
    state.apply(Started(trial=3, until=3), 1.0)
    assert next_move(state, False) == Wait()
    trained(state, 3, 3, 0.2)
    move = next_move(state, False)
    assert isinstance(move, Exploit)
    assert (move.trial, move.donor) == (0, 2)
    assert move.values != values
    assert set(move.values) == set(values)
    assert next_move(state, False) == move, "the same for the same state"


def test_pbt_reaches_more_than_the_same_trainings_without_exploits():
    played = [play(campaign("pbt", "random", trials=8, seed=seed), BASE, curve, 2) for seed in range(10)]
    plain = [play(campaign("none", "random", trials=8, seed=seed), BASE, curve, 2) for seed in range(10)]
    assert all(sum(len(trial.exploits) for trial in state.trials) > 0 for state, _ in played)
    assert sum(spent[-1][1] for _, spent in played) > sum(spent[-1][1] for _, spent in plain)


def test_what_a_dead_driver_left_is_owed_before_anything_else():
    state = begun(campaign("promote"))
    trained(state, 0, 1, 0.5)
    state.apply(Planned(trial=1, values={}, seed=0, run="t1"), 1.0)
    state.apply(Started(trial=1, until=1), 1.0)
    state.apply(Planned(trial=2, values={}, seed=0, run="t2"), 1.0)
    state.apply(Driven(host="h", pid=1), 1.0)
    assert next_move(state, True) == Resume(1, 1)
    state.apply(Started(trial=1, until=1), 1.0)
    assert next_move(state, True) == Resume(2, 1), "planned and never started"


def test_failed_trials_are_nobodys_competitors():
    state = begun(campaign("promote", trials=4))
    for number in range(3):
        trained(state, number, 1, 0.9)
        state.apply(Failed(trial=number, why="out of memory", code="training"), 1.0)
    trained(state, 3, 1, 0.1)
    assert next_move(state, False) == Resume(3, 3)
