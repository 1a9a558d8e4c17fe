"""What a campaign's report says in words: what it cost, what matters, what it is doing."""

import re
from collections.abc import Iterator

import pytest
from matplotlib import pyplot as plt
from simulate import play
from tune_confirmed import confirmed
from tune_toys import BASE, SPACE, campaign, curve

from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.costs import best_by_seconds, duration, point_cost
from rayox_platform.tune.figures import figures
from rayox_platform.tune.importance import importances, why_not
from rayox_platform.tune.ledger_records import Ended, Planned, Reported, Started
from rayox_platform.tune.report import about, page, verdict
from rayox_platform.tune.table import cells, columns, rows, summary

PRICED = {"node_hour": 3.6, "nodes": 2}
EXCLUSIVE = {
    "train.optimizer": {"choice": ["sgd", "adamw"]},
    "train.beta2": {"float": [0.9, 0.99], "when": {"train.optimizer": "adamw"}},
    "train.weight_decay": {"log": [1e-5, 1e-2], "when": {"train.optimizer": "sgd"}},
}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure outlives its test."""
    yield
    plt.close("all")


def two_metrics(trials: int) -> State:
    state, _ = play(
        campaign("none", "random", trials=trials, metrics={"AP": "max", "milliseconds": "min"}), BASE, curve
    )
    for trial in state.trials:
        report = trial.reports[trial.epoch]
        trial.reports[trial.epoch] = {**report, "milliseconds": float(trial.values["assigner.top_k"])}
    return state


def test_each_trial_has_its_cost_in_time_gpus_and_money():
    state = confirmed(campaign("promote", "tpe", trials=12, price=PRICED))
    for trial in state.trials:
        trial.gpu_seconds = trial.seconds / 2
    assert columns(state)[-3:] == ["took", "GPU-hours", "cost"]
    best, *_ = rows(state)
    assert cells(state, best)[-4:-1] == ["9 s", "0.0013", f"{best.cost:.2g}"]
    said = summary(state)
    assert said["best"]["gpu_hours"] == pytest.approx(4.5 / 3600, abs=1e-6)
    confirmation = sum(trial.seconds for trial in state.trials if trial.phase == "confirm")
    spent = 3.6 * 2 * state.driven_seconds / 3600
    searched = sum(one["cost"] for one in said["trials"])
    assert searched == pytest.approx(
        spent * (1 - confirmation / sum(trial.seconds for trial in state.trials)), rel=1e-3
    )


def test_where_the_base_recipe_leads_nobody_asks_whether_it_is_better_than_itself():
    state, _ = play(
        campaign("none", "random", trials=3), BASE, lambda values: [0.9 - values["assigner.top_k"] / 100] * 9
    )
    base = state.trials[0]
    for trial in state.trials[1:]:
        trial.reports[9] = {"AP": 0.1}
    assert verdict(state) == (
        f"The base recipe (trial 0) leads with AP {base.reports[9]['AP']:.4f} after 9 epochs: "
        "no trial that was trained as long is better."
    )


def test_a_campaign_of_one_trial_and_one_epoch_is_told_of_in_the_singular():
    state, _ = play(campaign("none", "random", trials=1), BASE | {"train": BASE["train"] | {"epochs": 1}}, curve)
    assert about(state).startswith("random with none on shapes: 1 trial (1 finished), 1 epoch in 0.00 hours; ")
    assert "after 1 epoch:" in verdict(state)


def test_a_trial_that_failed_leads_nowhere():
    """It stood on top of the line of the best so far, while the table had another one first."""
    state, _ = play(campaign("none", "random", trials=4), BASE, lambda values: [values["assigner.top_k"] / 20] * 9)
    best = state.best
    best.state, best.why = "failed", "out of memory"
    now = state.best
    assert now is not best
    (line,) = [line for line in figures(state)["history"].axes[0].lines if line.get_label() == "best so far"]
    assert max(line.get_ydata()) == state.score(now)
    assert best_by_seconds(state, state.search)[-1][1] == state.score(now)


def test_where_all_have_failed_it_says_why():
    state, _ = play(campaign("none", "random", trials=2), BASE, curve, fails=lambda trial, until: True)
    state.trials[0].why = "no such image\n/data/1.png"
    assert verdict(state) == "No trial has been measured: all have failed, the first: no such image /data/1.png."
    assert cells(state, rows(state)[0])[-1] == "no such image /data/1.png", "one line of a table"
    assert "No trial has been measured" in page(state, {})
    assert figures(state)


def test_without_gpus_and_a_price_there_is_the_time_alone():
    state, _ = play(campaign("none", "random", trials=3), BASE, curve)
    assert columns(state) == ["center_radius", "top_k", "iou_cost_weight", "took"]
    assert (rows(state)[0].cost, rows(state)[0].gpu_hours) == (None, 0.0)
    assert "<th>took</th>" in page(state, {})


def test_times_are_written_in_their_own_unit():
    assert [duration(seconds) for seconds in (9, 90, 5400)] == ["9 s", "1.5 min", "1.5 h"]


def test_a_point_of_the_metric_has_its_cost_after_as_many_epochs_as_the_base_recipe_had():
    state = confirmed(campaign("promote", "tpe", trials=12, price=PRICED))
    cost, base, best = point_cost(state), state.search[0], state.best
    assert cost is not None
    assert cost.epoch == base.epoch < best.epoch
    gained = 100 * (state.score(best, base.epoch) - state.score(base))
    hours = sum(trial.seconds for trial in state.search) / 3600
    assert (cost.hours, cost.money) == (pytest.approx(hours), pytest.approx(hours * cost.money / cost.hours))
    assert f"A point of AP (0.01) cost {3600 * hours / gained:.1f} seconds" in page(state, {})
    assert re.search(r"cost [0-9.]+ seconds \([0-9.]+ in money\) of training", page(state, {}))
    assert "for a point of AP" in figures(state)["spent"].axes[0].get_title()
    seconds, value = best_by_seconds(state, state.search)[-1]
    assert (seconds, value) == (pytest.approx(3600 * hours), pytest.approx(state.score(best)))


def test_what_gained_nothing_is_said_to_have_gained_nothing():
    state, _ = play(campaign("none", "random", trials=3), BASE, lambda values: [0.5] * 9)
    assert "so no point of AP was gained for that" in page(state, {})


def test_a_campaign_whose_base_recipe_has_failed_has_its_pictures_and_costs_all_the_same():
    state, _ = play(campaign("none", "random", trials=4), BASE, curve)
    base = state.search[0]
    base.reports, base.state, base.epoch = {}, "failed", 0
    assert {"history", "curves", "slices", "cost", "spent"} <= set(figures(state))
    assert "The base recipe has no AP to compare them with." in page(state, {})


def test_importance_is_told_for_each_metric():
    state = two_metrics(60)
    found = importances(state)
    assert next(iter(found["milliseconds"])) == "assigner.top_k"
    assert set(found["AP"]) == set(SPACE)
    assert not why_not(state)
    legend = [text.get_text() for text in figures(state)["importance"].axes[0].get_legend().get_texts()]
    assert legend == ["AP", "milliseconds"]


def test_importance_is_told_of_the_settings_that_all_trials_have_and_the_others_are_named():
    state, _ = play(campaign("none", "random", trials=20, space=EXCLUSIVE | SPACE), BASE, curve)
    assert set(importances(state)["AP"]) == {"train.optimizer", *SPACE}
    (why,) = why_not(state)
    assert "importance of train.beta2, train.weight_decay is not shown: only some trials have a value" in why
    assert why.partition(" (`")[0] in page(state, {})


def test_why_there_is_no_importance_is_said():
    state = two_metrics(5)
    assert importances(state) == {"AP": {}, "milliseconds": {}}
    for name, why in zip(("AP", "milliseconds"), why_not(state), strict=True):
        assert f"for {name} is not shown: that takes 8 trials" in why
        assert "there are 5" in why
    alike, _ = play(campaign("none", "random", trials=12), BASE, lambda values: [0.5] * 9)
    assert "the trials hardly differ in it" in why_not(alike)[0]


def crashed() -> State:
    state, _ = play(campaign("promote", "tpe", trials=3), BASE, curve)
    number = len(state.trials)
    state.apply(Planned(trial=number, values=state.trials[0].values, seed=0, run="t"), 100.0)
    state.apply(Started(trial=number, until=3), 100.0)
    state.apply(Reported(trial=number, epoch=1, metrics={"AP": 0.1}, seconds=1.0), 101.0)
    return state


def test_a_campaign_whose_driver_is_gone_is_dead_and_nothing_of_it_runs():
    state = crashed()
    said = about(state, "dead")
    assert "1 cut off" in said
    assert "; dead (its driver is gone" in said
    assert "running" not in said
    written = page(state, {}, "dead")
    assert "running" not in written
    assert "<td>cut off</td>" in written
    assert summary(state, "dead")["status"] == "dead"
    assert [one["state"] for one in summary(state, "dead")["trials"]].count("cut off") == 1


def test_who_drives_a_campaign_is_said_and_how_it_ended():
    state = crashed()
    assert "1 running" in about(state, "running", "process 7 on host")
    assert "; running by process 7 on host; as of" in about(state, "running", "process 7 on host")
    state.apply(Ended(status="interrupted", why="budget.hours 1"), 102.0)
    assert "; interrupted (budget.hours 1); as of" in about(state, "interrupted")
    assert about(state) == about(state, "interrupted")
