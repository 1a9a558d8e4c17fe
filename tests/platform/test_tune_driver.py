"""The driver between ledger and Ray Tune: what becomes a part, and what becomes of what its process says."""

from dataclasses import replace

import pytest
from tune_drive import GIVEN, fail, train
from tune_toys import CONFIG, campaign

from rayox_model.core.errors import ConfigError, TrainingError
from rayox_platform.config.tree import Config
from rayox_platform.tune.driver import LOOK_SECONDS, STOPPED
from rayox_platform.tune.ledger_records import Extended
from rayox_platform.tune.resuming import check_same
from rayox_platform.tune.winner import as_recipe, winning_trial


def test_a_part_has_all_that_its_process_needs(begin):
    driver = begin(campaign(trials=2))
    part = driver.next_part()
    assert (part.trial, part.until, part.config.name) == (0, 1, "campaign-000")
    assert part.config.data.val.annotations == "a.json"
    assert part.config.assigner == CONFIG.assigner
    assert driver.state.trials[0].state == "running"
    train(driver, part)
    second = driver.next_part()
    assert second.config.assigner.top_k == driver.state.trials[1].values["assigner.top_k"]
    assert driver.next_part() is None, "the budget is used up, and trial 1 still runs"
    assert driver.over == ""
    train(driver, second, 0.9)
    third = driver.next_part()
    assert (third.trial, third.until, third.known) == (1, 3, frozenset({1}))


def test_hours_of_gpus_are_those_that_trials_had_of_them(begin):
    """Two workers with a quarter of a GPU each, epochs of two seconds: half a GPU for two seconds is one second."""
    driver = begin(campaign("none", trials=20, budget={"trials": 20, "gpu_hours": 20 / 3600}, confirm={"top": 0}))
    driver.given = replace(GIVEN, workers=2, fewest_workers=2, gpu=True, gpus_per_worker=0.25)
    count = 0
    while (part := driver.next_part()) is not None:
        train(driver, part)
        count += 1
        assert driver.state.trials[part.trial].gpu_seconds == pytest.approx(9.0)
    assert driver.over == "budget.gpu_hours 0.00555556"
    assert count == 3


def test_to_its_end_and_beyond(begin):
    driver = begin(campaign("none", trials=2, confirm={"top": 1, "seeds": 2}))
    for score in (0.5, 0.7):
        train(driver, driver.next_part(), score)
    again = []
    while (part := driver.next_part()) is not None:
        again.append((part.config.train.seed, part.config.data.val.annotations, driver.state.trials[part.trial].of))
        train(driver, part, 0.6)
    assert again == [(1000, "b.json", 0), (1000, "b.json", 1), (1001, "b.json", 0), (1001, "b.json", 1)]
    assert driver.over == "budget.trials 2"
    assert driver.state.best.number == 1
    driver.ledger.tell(Extended(budget={"trials": 3}))
    driver.over = ""
    assert driver.next_part().trial == 6


def test_a_best_trial_that_was_paused_is_confirmed_too(begin):
    driver = begin(campaign("promote", trials=3, confirm={"top": 1, "seeds": 1}))
    for score in (0.9, 0.2, 0.5):
        train(driver, driver.next_part(), score)
    of = []
    while (part := driver.next_part()) is not None:
        if driver.state.trials[part.trial].phase == "confirm":
            of.append(driver.state.trials[part.trial].of)
        train(driver, part, 0.9)
    assert [trial.state for trial in driver.state.search] == ["finished", "paused", "paused"]
    assert of == [0, 2]


def test_a_trial_that_fails_is_a_result(begin):
    driver = begin(campaign("none", trials=4, confirm={"top": 0}))
    part = driver.next_part()
    train(driver, part)
    bad = driver.next_part()
    driver.started("x", bad)
    driver.told("x", {"failed": "the loss is not finite at step 7", "code": "training"})
    driver.left("x")
    killed = driver.next_part()
    driver.started("y", killed)
    driver.left("y", "ActorDiedError: out of memory")
    train(driver, driver.next_part())
    assert driver.next_part() is None
    assert [trial.state for trial in driver.state.trials] == ["finished", "failed", "failed", "finished"]
    assert [trial.why for trial in driver.state.trials[1:3]] == [
        "the loss is not finite at step 7",
        "ActorDiedError: out of memory",
    ]
    driver.check_end()


def test_when_the_first_trials_all_fail_it_is_not_their_fault(begin):
    driver = begin(campaign("none", trials=20))
    for _ in range(3):
        part = driver.next_part()
        driver.started(str(part.trial), part)
        driver.told(str(part.trial), {"failed": "no such image", "code": "data"})
        driver.left(str(part.trial))
    assert driver.next_part() is None
    with pytest.raises(TrainingError, match="all 3 trials have failed; the first: no such image"):
        driver.check_end()


def test_when_others_learn_the_failures_are_those_of_their_trials(begin):
    driver = begin(campaign("none", trials=8, confirm={"top": 0}))
    parts = [driver.next_part() for _ in range(4)]
    driver.started("well", parts[3])
    driver.told("well", {"epoch": 1, "metrics": {"AP": 0.5}, "seconds": 1.0})
    for part in parts[:3]:
        fail(driver, part)
    assert driver.next_part().trial == 4
    assert driver.over == ""


def test_a_campaign_that_went_on_after_its_first_failures_is_not_ended_by_the_next_one(begin):
    driver = begin(campaign("none", trials=20, confirm={"top": 0}))
    for _ in range(3):
        fail(driver, driver.next_part())
    assert driver.next_part() is None
    again = begin()
    train(again, again.next_part())
    fail(again, again.next_part())
    assert again.next_part().trial == 5


def test_a_trial_that_goes_on_before_ray_tune_has_ended_its_part_has_not_failed(begin):
    """Ray Tune may ask for the next part, and repeat the last report, between a part's end and its own."""
    driver = begin(campaign("promote", trials=1, confirm={"top": 0}))
    first = driver.next_part()
    driver.started("first", first)
    driver.told("first", {"epoch": 1, "metrics": {"AP": 0.5}, "seconds": 2.0})
    end = {"until": 1, "checkpoint": "step-1"}
    driver.told("first", end)
    second = driver.next_part()
    assert (second.trial, second.until) == (0, 3)
    driver.started("second", second)
    driver.told("first", end)
    driver.left("first")
    assert driver.state.trials[0].state == "running"
    train(driver, second)
    assert driver.state.trials[0].state == "paused"


def test_settings_that_do_not_go_together_fail_their_trial_alone(begin):
    space = {"train.closing_epochs": {"int": [0, 14]}}  # which the file's check would refuse
    driver = begin(campaign("none", trials=30, space=space, confirm={"top": 0}))
    while (part := driver.next_part()) is not None:
        train(driver, part)
    failed = [trial for trial in driver.state.trials if trial.state == "failed"]
    assert failed
    assert all(trial.values["train.closing_epochs"] > 9 for trial in failed)
    assert "train.closing_epochs" in failed[0].why


def test_what_is_said_twice_counts_once(begin):
    driver = begin(campaign(trials=1))
    part = driver.next_part()
    train(driver, part)
    train(driver, part, identity="again")
    assert driver.state.epochs_trained == 1
    assert driver.state.trials[0].state == "paused"


def test_a_new_driver_goes_on_with_what_ran(begin):
    driver = begin(campaign(trials=4))
    train(driver, driver.next_part())
    ran = driver.next_part()
    after = begin()
    again = after.next_part()
    assert (again.trial, again.until, again.config) == (ran.trial, ran.until, ran.config)
    train(after, again)
    assert after.next_part().trial == 2


def test_asked_to_stop_it_begins_nothing_more(begin):
    driver = begin(campaign(trials=9))
    train(driver, driver.next_part())
    driver.home.ask_to_stop()
    driver.looks_at -= LOOK_SECONDS
    assert driver.next_part() is None
    assert driver.over == STOPPED


def test_pbt_goes_on_from_another_ones_checkpoint(begin):
    driver = begin(campaign("pbt", trials=4, schedule={"population": 4, "every": 3}, confirm={"top": 0}))
    for score in (0.1, 0.4, 0.3, 0.2):
        train(driver, driver.next_part(), score)
    part = driver.next_part()
    assert (part.trial, part.until) == (0, 6)
    assert part.fork == ("campaign-001", "step-3")
    assert part.config.name == "campaign-000-e3"
    assert part.config.checkpoint.keep >= 3, "the donor must still have it"
    assert driver.state.trials[0].values != driver.state.trials[1].values


def test_another_campaign_is_not_gone_on_with(begin):
    driver = begin(campaign(trials=4))
    check_same(driver.state, campaign(trials=9), CONFIG, frozenset({"budget.trials"}))
    with pytest.raises(ConfigError, match=r"search\.kind: it began with 'tpe', now 'gp' is given"):
        check_same(driver.state, campaign(search="gp"), CONFIG, frozenset({"search.kind"}))
    longer = Config.model_validate(CONFIG.model_dump() | {"train": CONFIG.train.model_dump() | {"epochs": 12}})
    with pytest.raises(ConfigError, match=r"train\.epochs: it began with 9, now it is 12"):
        check_same(driver.state, campaign(), longer, frozenset())


def test_a_winner_is_one_only_when_it_is_confirmed(begin):
    driver = begin(campaign("none", trials=2, confirm={"top": 0}))
    for score in (0.5, 0.7):
        train(driver, driver.next_part(), score)
    with pytest.raises(ConfigError, match="its winner has not been confirmed"):
        winning_trial(driver.state)
    text = as_recipe(driver.state, winning_trial(driver.state, 1), "shapes", {"train.epochs": 9})
    assert "extends: shapes" in text
    assert "AP 0.7000 after 9 epochs with one seed; not confirmed, it may be luck" in text
    with pytest.raises(ConfigError, match="trials 0 to 1"):
        winning_trial(driver.state, 2)
