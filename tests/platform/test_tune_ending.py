"""How a campaign ends: by a budget that leaves room to confirm, confirmed with what did not fail, without a verdict."""

import json

import numpy as np
import pytest
from test_tune_evidence import detected, scene
from tune_drive import fail, train
from tune_toys import campaign

from rayox_model.core.errors import ConfigError
from rayox_platform.data.coco import parse_coco
from rayox_platform.evaluate.matches import match
from rayox_platform.tune.budget import out_of_time, why_no_more
from rayox_platform.tune.confirming import confirm, verdict
from rayox_platform.tune.driver import LOOK_SECONDS
from rayox_platform.tune.ledger_records import Driven, Extended
from rayox_platform.tune.split import nothing_to_score, part_of
from rayox_platform.tune.winner import winning_trial

CONFIRM = {"top": 1, "seeds": 2}


def parts(driver, score=0.5, seconds=2.0) -> list[tuple[str, int, int]]:
    """(phase, trial, until) of all that is trained from here on."""
    found = []
    while (part := driver.next_part()) is not None:
        found.append((driver.state.trials[part.trial].phase, part.trial, part.until))
        train(driver, part, score, seconds=seconds)
    return found


def spend(driver, seconds: float) -> None:
    """So much time of a driver."""
    driver.state.apply(Driven(host="h", pid=1), driver.state.last)
    driver.state.driven_seconds += seconds


def test_out_of_hours_what_runs_comes_to_its_rung_and_the_best_is_confirmed(begin):
    driver = begin(campaign("promote", trials=20, budget={"trials": 20, "hours": 1.0}, confirm=CONFIRM))
    for score in (0.5, 0.4, 0.3):
        train(driver, driver.next_part(), score)
    running = driver.next_part()
    assert (running.trial, running.until) == (0, 3)
    spend(driver, 3600)
    assert driver.next_part() is not None, "the driver that lost it owes it its rung"
    assert driver.next_part() is None
    assert driver.over == "", "it still runs"
    train(driver, running, 0.6)
    assert parts(driver) == [("confirm", number, 9) for number in (3, 4, 5, 6)]
    assert [trial.state for trial in driver.state.search] == ["paused", "paused", "paused"]
    assert driver.over == "budget.hours 1"


def test_the_search_leaves_the_confirmation_its_time(begin):
    """Four trainings of nine epochs of 50 s, two at a time: a quarter of an hour."""
    driver = begin(campaign("none", trials=99, budget={"trials": 99, "hours": 2.0}, confirm=CONFIRM))
    driver.at_a_time = 2
    for _ in range(2):
        train(driver, driver.next_part(), seconds=50.0)
    spend(driver, 3600)
    assert out_of_time(driver.state, 2) is None
    spend(driver, 2690)
    train(driver, driver.next_part(), seconds=50.0)
    spend(driver, 20)
    assert [phase for phase, *_ in parts(driver)] == ["confirm"] * 4
    assert driver.over == "budget.hours 2, of which 0.25 are kept for the confirmation"


def test_a_budget_too_small_for_the_confirmation_is_for_the_search_by_half(begin):
    driver = begin(campaign("none", trials=99, budget={"trials": 99, "hours": 0.1}, confirm=CONFIRM))
    train(driver, driver.next_part(), seconds=3000.0)
    assert out_of_time(driver.state) is None
    spend(driver, 180)
    assert out_of_time(driver.state) == "budget.hours 0.1, of which 0.05 are kept for the confirmation"


def test_a_confirmation_that_has_begun_is_brought_to_its_end(begin):
    settings = campaign("none", trials=2, budget={"trials": 2, "cost": 1.0}, price={"node_hour": 1.0}, confirm=CONFIRM)
    driver = begin(settings)
    for _ in range(3):
        train(driver, driver.next_part())
    assert driver.state.confirming
    spend(driver, 7200)
    again = begin()
    spend(again, 7200)
    assert [phase for phase, *_ in parts(again)] == ["confirm"] * 3


def test_epochs_of_the_confirmation_are_not_those_of_the_search(begin):
    driver = begin(campaign("none", trials=2, budget={"trials": 9, "epochs": 27}, confirm=CONFIRM))
    assert [phase for phase, *_ in parts(driver)] == ["search"] * 3 + ["confirm"] * 4
    assert driver.over == "budget.epochs 27"
    driver.ledger.tell(Extended(budget={"epochs": 36}))
    driver.over = ""
    assert parts(driver)[0][0] == "search"


def test_a_whole_population_begins_no_more(begin):
    driver = begin(campaign("pbt", trials=9, schedule={"population": 4, "every": 3}, confirm={"top": 0}))
    assert len({trial for _, trial, _ in parts(driver)}) == 4
    assert why_no_more(driver.state) == "schedule.population 4"


def confirmed(driver, failing: set[int]):
    """The state after a search of three trials and a confirmation, in which some trainings fail."""
    for score in (0.5, 0.9, 0.8):
        train(driver, driver.next_part(), score)
    while (part := driver.next_part()) is not None:
        fail(driver, part) if part.trial in failing else train(driver, part)
    dataset = scene()
    of = {0: 8.0, 1: 2.0, 2: 3.0}  # pixels by which they err
    found = {
        trial.number: match(dataset, detected(dataset, of[trial.of], trial.seed))
        for trial in driver.state.trials
        if trial.phase == "confirm" and trial.state == "finished"
    }
    return driver.state, verdict(driver.state, found)


@pytest.mark.parametrize(
    ("failing", "seeds", "compared", "said"),
    [
        (set(), 3, [1, 2], ""),
        ({3}, 2, [1, 2], "; on 2 of 3 seeds: the base recipe with seed 1000 failed (out of memory)"),
        ({7}, 3, [2], "; on 3 of 3 seeds: trial 1 with seed 1001 failed (out of memory); not compared: trial 1"),
        ({3, 7, 11}, 1, [1], "not compared: trial 2"),
    ],
)
def test_trainings_that_failed_are_left_out_of_the_comparison_which_says_so(begin, failing, seeds, compared, said):
    driver = begin(campaign("none", trials=3, confirm={"top": 2, "seeds": 3, "samples": 50}))
    _, result = confirmed(driver, failing)
    assert result["seeds"] == seeds
    assert sorted(one["trial"] for one in result["compared"]) == compared
    assert np.isfinite(result["base_score"])
    assert result["sentence"].endswith(said or ")")


def test_on_images_without_boxes_there_is_no_verdict(begin):
    driver = begin(campaign("none", trials=2, confirm={"top": 1, "seeds": 2, "samples": 50}))
    for _ in range(6):
        train(driver, driver.next_part())
    empty = part_of(scene(), range(3)) | {"annotations": []}
    found = match(parse_coco(json.dumps(empty).encode(), "empty.json"), {})
    result = verdict(driver.state, dict.fromkeys(range(2, 6), found))
    assert result["sentence"] == "no verdict: the images of the confirmation have no boxes"
    assert result["winner"] is None


def test_a_confirmation_that_was_stopped_is_gone_on_with(begin):
    """Four of its six trainings are done, two seeds of three: no verdict yet."""
    driver = begin(campaign("none", trials=2, confirm={"top": 1, "seeds": 3, "samples": 50}))
    for _ in range(6):
        train(driver, driver.next_part())
    driver.home.ask_to_stop()
    driver.looks_at -= LOOK_SECONDS
    assert driver.next_part() is None
    confirm(driver, lambda line: pytest.fail(line))
    assert driver.state.confirmed is None
    driver.home.take_back_stop()
    assert [phase for phase, *_ in parts(begin())] == ["confirm"] * 2


def test_nothing_is_confirmed_on_the_only_image(begin):
    """The search scores it."""
    driver = begin(campaign("none", trials=2, confirm=CONFIRM))
    driver.state.data = {}
    assert [phase for phase, *_ in parts(driver)] == ["search"] * 2
    dataset = parse_coco(json.dumps(part_of(scene(), [0])).encode(), "one.json")
    assert nothing_to_score(dataset, driver.state.campaign.confirm) == [
        "one.json: one image, which the search scores, so nothing can be confirmed on others"
    ]


def test_a_confirmation_that_is_no_longer_wanted_has_no_verdict(begin):
    driver = begin(campaign("none", trials=3, confirm={"top": 2, "seeds": 1, "samples": 50}))
    confirmed(driver, set())
    driver.ledger.tell(Extended(budget={}, changed={"confirm": {"top": 0}}))
    confirm(driver, lambda line: pytest.fail(line))
    assert driver.state.confirmed is None


def test_without_a_seed_in_common_there_is_no_verdict_and_it_says_why(begin):
    driver = begin(campaign("none", trials=3, confirm={"top": 2, "seeds": 1, "samples": 50}))
    state, result = confirmed(driver, {3})
    assert result["sentence"] == "no verdict: the base recipe with seed 1000 failed (out of memory)"
    state.confirmed = result
    with pytest.raises(ConfigError, match="no verdict: the base recipe"):
        winning_trial(state)
