"""What Optuna's samplers are told of a campaign's trials, and of those of an earlier campaign."""

import optuna
import pytest
from optuna.trial import TrialState
from simulate import play
from test_tune_search import PUBLISHED, begun, tried
from tune_toys import BASE, SPACE, campaign, curve, quality

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Failed, Finished, Paused, Planned, Pruned, Reported, Started
from rayox_platform.tune.optuna_export import export_study
from rayox_platform.tune.search import suggest
from rayox_platform.tune.study import common_level, study_of
from rayox_platform.tune.warm import check_related

RADIUS = {"assigner.center_radius": SPACE["assigner.center_radius"]}


def told(state: State, number: int, *scores: float | None) -> None:
    """A trial that runs and has reported these scores, one an epoch; None is an epoch without an evaluation."""
    values = {"assigner.center_radius": 0.5 + 0.1 * number, "assigner.top_k": 5, "assigner.iou_cost_weight": 1.0}
    state.apply(Planned(trial=number, values=values, seed=0, run=f"t{number}"), 1.0)
    state.apply(Started(trial=number, until=len(scores)), 1.0)
    for epoch, score in enumerate(scores, 1):
        metrics = {} if score is None else {"AP": score}
        state.apply(Reported(trial=number, epoch=epoch, metrics={"loss": 1.0} | metrics), 1.0)


def test_what_ran_when_an_earlier_campaign_was_killed_does_not_run_now():
    earlier = begun(campaign("promote", "tpe"))
    for number in range(4):
        told(earlier, number, 0.1, 0.2)
    earlier.apply(Paused(trial=0, epoch=2), 1.0)
    earlier.apply(Pruned(trial=1, why="so it is"), 1.0)
    earlier.apply(Failed(trial=2, why="out of memory", code="training"), 1.0)
    state = begun(campaign("promote", "tpe"))
    told(state, 0)
    seen = [trial.state for trial in study_of(state, earlier).trials]
    pruned, failed, running = TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING
    assert seen == [pruned, pruned, failed, pruned, running]


def test_scores_of_two_campaigns_are_of_the_same_epoch():
    """The earlier one was searched otherwise, and trained whole."""
    earlier = play(campaign("none", "random", 6), BASE, curve).state
    state = begun(campaign("promote", "gp", searcher={"startup": 5}))
    told(state, 0, 0.01)
    state.apply(Paused(trial=0, epoch=1), 1.0)
    seen = [trial for trial in study_of(state, earlier).trials if trial.state == TrialState.COMPLETE]
    assert [trial.value for trial in seen] == [curve(trial.values)[8] for trial in earlier.trials]
    less = begun(campaign("promote", "gp", searcher={"startup": 7}))
    told(less, 0, 0.01)
    less.apply(Paused(trial=0, epoch=1), 1.0)
    seen = [trial for trial in study_of(less, earlier).trials if trial.state == TrialState.COMPLETE]
    assert [trial.value for trial in seen] == [*(curve(trial.values)[0] for trial in earlier.trials), 0.01]


def test_an_epoch_without_an_evaluation_is_no_level():
    state = begun(campaign("promote", "gp", searcher={"startup": 3}, schedule={"rungs": [2]}))
    for number in range(6):
        told(state, number, None, 0.5, None)
    assert common_level(state, state.search) == 2


@pytest.mark.parametrize("kind", ["gp", "nsga2"])
def test_a_base_recipe_outside_of_the_space_takes_no_setting_out_of_the_model(kind):
    """Optuna models the settings alone that all whole trials have."""
    space = SPACE | {"assigner.top_k": {"int": [15, 20]}}
    state = begun(campaign("none", kind, 20, space=space, searcher={"startup": 4, "population": 4}))
    for _ in range(6):
        tried(state, quality(suggest(state).values))
    study = study_of(state)
    modelled = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert set(modelled) == set(space)


def test_a_setting_that_an_earlier_campaign_did_not_search_is_modelled():
    earlier = play(campaign("none", "gp", 6, space=RADIUS), BASE, lambda values: [0.5] * 9).state
    state = begun(campaign("none", "gp", 20, searcher={"startup": 4}))
    for _ in range(5):
        tried(state, 0.5)
    study = study_of(state, earlier)
    assert set(study.sampler.infer_relative_search_space(study, study.trials[-1])) == set(SPACE)


def test_the_first_generation_is_that_of_the_base_recipe_and_of_the_first_draws():
    state = begun(campaign("none", "nsga2", 20, searcher={"startup": 2, "population": 3}))
    for _ in range(3):
        tried(state, quality(suggest(state).values))
    found = suggest(state)
    assert list(found.attributes.values()).count(1) == 1, "the second generation"
    assert found.values != PUBLISHED


def test_a_generation_of_one_whole_trial_has_no_descendants():
    """The others failed, or have not come to the epoch that is compared; Optuna wants two parents."""
    state = begun(campaign("none", "nsga2", 20, searcher={"startup": 0, "population": 3}))
    for number in range(6):
        values = {"assigner.center_radius": 1.0 + number / 10, "assigner.top_k": 9, "assigner.iou_cost_weight": 2.0}
        kept = {"NSGAIISampler:generation": number // 2} if number else {}
        state.apply(Planned(trial=number, values=values, seed=0, run=f"t{number}", attributes=kept), 1.0)
        state.apply(Started(trial=number, until=9), 1.0)
        if number not in (1, 2):
            state.apply(Failed(trial=number, why="out of memory", code="training"), 1.0)
        else:
            state.apply(Reported(trial=number, epoch=9, metrics={"AP": 0.1 * number}), 1.0)
            state.apply(Finished(trial=number), 1.0)
    assert [one.system_attrs["NSGAIISampler:generation"] for one in study_of(state).trials][1:3] == [0, 0]
    assert set(suggest(state).values) == set(SPACE)


def test_the_exported_study_has_what_each_trial_came_to(tmp_path):
    """The searcher compares all after the same epoch; whoever reads the study wants the whole trainings."""
    state = play(campaign("promote", "gp", 9, searcher={"startup": 9}), BASE, curve).state
    url = f"sqlite:///{tmp_path}/study.db"
    export_study(state, url)
    study = optuna.load_study(study_name="campaign", storage=url)
    whole = {trial.number: curve(trial.values)[8] for trial in state.trials if trial.state == "finished"}
    assert {one.number: one.value for one in study.trials if one.state == TrialState.COMPLETE} == pytest.approx(whole)


def test_metrics_in_another_order_are_other_metrics():
    """They are compared by their place."""
    both = [{"AP": "max", "AP50": "max"}, {"AP50": "max", "AP": "max"}]
    earlier = begun(campaign("none", "tpe", metrics=both[0]))
    assert check_related(earlier, campaign("none", metrics=both[0]), BASE) == []
    with pytest.raises(ConfigError, match=r"searched for AP \(max\), AP50 \(max\), this campaign for AP50 \(max\), AP"):
        check_related(earlier, campaign("none", metrics=both[1]), BASE)
