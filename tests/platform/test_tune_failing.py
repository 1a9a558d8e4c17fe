"""Schedules whose trials fail, that are extended, and whose epochs are not all evaluated: decided without Ray."""

import random
from collections import Counter

import pytest
from simulate import play, play_on
from test_tune_schedule import ALL, begun, trained
from tune_drive import fail as lost
from tune_drive import train
from tune_toys import BASE, CONFIG, campaign, curve

from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Exploited, Extended, Failed, Paused, Planned, Reported, Started
from rayox_platform.tune.moves import Begin, Done, Exploit, Prune, Resume
from rayox_platform.tune.rungs import brackets
from rayox_platform.tune.schedule import bracket_of, next_move
from rayox_platform.tune.space_check import with_values

VALUES = {"assigner.center_radius": 2.0, "assigner.top_k": 10, "assigner.iou_cost_weight": 3.0}


def fail(state: State, number: int) -> None:
    state.apply(Failed(trial=number, why="out of memory", code="training"), 1.0)


def test_the_next_worst_takes_over_what_its_donor_had_there_though_the_donor_has_moved_on():
    """One at a time: trial 1 takes over from 0, 0 goes on to epoch 6, 1 fails, and 2 is the worst that is left."""
    state = begun(campaign("pbt", schedule={"population": 4, "every": 3}, trials=4))
    for number, score in enumerate((0.9, 0.1, 0.3, 0.4)):
        trained(state, number, 3, score)
        state.trials[number].values = VALUES
    move = next_move(state, False)
    assert isinstance(move, Exploit)
    state.apply(
        Exploited(trial=1, donor=0, epoch=3, values=move.values, run="t1-e3", donor_run="t0", checkpoint="c"), 1.0
    )
    trained(state, 0, 6, 0.95)
    state.apply(Started(trial=1, until=6), 1.0)
    fail(state, 1)
    move = next_move(state, False)
    assert isinstance(move, Exploit)
    assert (move.trial, move.donor, move.epoch) == (2, 0, 3)
    kept = state.trials[0].kept[move.epoch]
    assert (kept.run, state.trials[0].epoch) == ("t0", 6)
    taken = Exploited(trial=2, donor=0, epoch=3, values=move.values, run="t2-e3", donor_run="t0", checkpoint="c")
    state.apply(taken, 1.0)
    assert next_move(state, False) == Resume(2, 6), "once is enough"


def test_the_driver_goes_on_from_there_and_writes_it_once(begin):
    driver = begin(campaign("pbt", trials=4, schedule={"population": 4, "every": 3}, confirm={"top": 0}))
    scores = (0.9, 0.1, 0.3, 0.4)
    for number in (0, 1, 2, 3, 0):
        part = driver.next_part()
        assert part.trial == number
        train(driver, part, scores[number])
    part = driver.next_part()
    assert (part.trial, part.fork) == (1, ("campaign-000", "step-3"))
    lost(driver, part)
    part = driver.next_part()
    assert (part.trial, part.until, part.fork) == (2, 6, ("campaign-000", "step-3"))
    kinds = [record["kind"] for record in driver.home.journal().read()]
    assert kinds.count("exploited") == 2


def test_a_population_keeps_every_checkpoint_that_may_be_taken_over(begin):
    """A donor that goes on before its taker has begun would push its own out by those within epochs."""
    often = with_values(CONFIG, {"checkpoint.every_steps": 1, "checkpoint.every_minutes": 1.0, "checkpoint.keep": 1})
    driver = begin(campaign("pbt", trials=4, schedule={"population": 4, "every": 3}, confirm={"top": 0}), often)
    kept = driver.next_part().config.checkpoint
    assert (kept.keep, kept.every_steps, kept.every_minutes) == (9, 0, 0.0)


@pytest.mark.parametrize("slots", [1, 3])
def test_a_population_comes_to_its_end_whoever_fails(slots):
    for failing in range(8):
        settings = campaign("pbt", "random", trials=8, schedule={"every": 3})
        state, _ = play(
            settings, BASE, curve, slots, fails=lambda trial, until, bad=failing: trial == bad and until > 3
        )
        kinds = Counter(trial.state for trial in state.trials)
        assert kinds == {"finished": 7, "failed": 1}
        taken = [(exploit.trial, exploit.epoch) for trial in state.trials for exploit in trial.exploits]
        assert len(taken) == len(set(taken))


def test_an_extended_hyperband_files_its_trials_by_their_place_in_the_search():
    """The confirmation has taken numbers, so the trials after it have others than their places."""
    settings = campaign("hyperband", "random", trials=13)
    state, spent = play(settings, BASE, curve, 2)
    for number in range(13, 25):
        again = Planned(trial=number, values=VALUES, seed=1000, run=f"s{number}", phase="confirm", of=0)
        state.apply(again, state.last)
        trained(state, number, 9, 0.5)
    state.apply(Extended(budget={"trials": 26}), state.last)
    assert next_move(state, True) == Begin(1)
    best = {"assigner.center_radius": 2.2, "assigner.top_k": 14, "assigner.iou_cost_weight": 4.0}
    state.apply(Planned(trial=25, values=best, seed=0, run="t25"), state.last)
    trained(state, 25, 1, 0.99)
    assert next_move(state, True) == Resume(25, 3), "the fourteenth, in the first bracket"
    state, _ = play_on(state, curve, 2, spent)
    assert state.trials[25].state == "finished"
    found = brackets(settings.schedule, 9)
    counts = Counter(bracket_of(place, found) for place in range(26))
    assert counts == {0: 18, 1: 6, 2: 2}
    for bracket, steps in enumerate(found):
        members = [trial for place, trial in enumerate(state.search) if bracket_of(place, found) == bracket]
        assert {trial.epoch for trial in members} <= set(steps)
        assert any(trial.state == "finished" for trial in members)


def test_the_median_is_of_the_epochs_that_were_evaluated():
    state = begun(campaign("median", schedule={"every": 3, "min_trials": 4}))
    for number, score in enumerate((0.9, 0.9, 0.9, 0.9, 0.01)):
        state.apply(Planned(trial=number, values={}, seed=0, run=f"t{number}"), 1.0)
        state.apply(Started(trial=number, until=3), 1.0)
        for epoch in (1, 2, 3):
            metrics = {"loss": 1.0} | ({"AP": score} if epoch == 3 else {})
            state.apply(Reported(trial=number, epoch=epoch, metrics=metrics), 1.0)
        state.apply(Paused(trial=number, epoch=3, checkpoint="c"), 1.0)
    for number in range(4):
        assert next_move(state, False) == Resume(number, 6)
        state.apply(Started(trial=number, until=6), 1.0)
    move = next_move(state, False)
    assert isinstance(move, Prune)
    assert (move.trial, move.why) == (4, "below the median of 4 others at epoch 3")


@pytest.mark.parametrize("trials", [2, 4])
@pytest.mark.parametrize("last", [3, 9])
def test_when_the_promoted_one_fails_the_next_best_is_trained_whole(trials, last):
    state = begun(campaign("promote", trials=trials))
    for number in range(trials):
        assert next_move(state, True) == Begin(1) or number == 3
        trained(state, number, 1, 0.9 - 0.1 * number)
    while (move := next_move(state, False)) != Resume(0, last):
        trained(state, move.trial, move.until, 0.9 - 0.1 * move.trial)
    state.apply(Started(trial=0, until=last), 1.0)
    fail(state, 0)
    assert next_move(state, False) == Resume(1, 3)
    trained(state, 1, 3, 0.8)
    assert next_move(state, False) == Resume(1, 9)
    trained(state, 1, 9, 0.8)
    assert next_move(state, False) == Done()


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("kind", ALL)
def test_whoever_fails_every_schedule_comes_to_an_end_with_somebody_trained_whole(kind, slots):
    """Except where those that did not fail had been given up for good before."""
    for seed in range(12):
        draw = random.Random(seed)
        failing = {(trial, until): draw.random() < 0.35 for trial in range(13) for until in range(1, 10)}
        settings = campaign(kind, "random", trials=9, seed=seed)
        state, spent = play(settings, BASE, curve, slots, fails=lambda trial, until, bad=failing: bad[trial, until])
        assert not any(trial.state in ("planned", "running") for trial in state.trials)
        assert next_move(state, may_begin=False) == Done()
        assert spent or kind in ("asha", "median") or all(trial.state == "failed" for trial in state.trials)
