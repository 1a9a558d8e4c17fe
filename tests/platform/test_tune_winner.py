"""A trial as a recipe: found by its number, with all that it had beside the recipe, written whole or not at all."""

from pathlib import Path

import pytest
from simulate import play
from tune_confirmed import confirmed, extended
from tune_toys import BASE, campaign

from rayox_model.core.errors import ConfigError
from rayox_platform.config.load import load_config
from rayox_platform.config.tree import Config
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.evidence import Compared, Evidence
from rayox_platform.tune.space_check import with_values
from rayox_platform.tune.winner import (
    as_recipe,
    own_settings,
    recipe_files,
    trained_whole,
    winning_trial,
    write_recipe,
)

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "rayox" / "recipes"


def loaded(path: Path) -> Config:
    return load_config(str(path), packaged=RECIPES, environ={}).config


@pytest.fixture(scope="module")
def gone_on() -> State:
    """Trials 0 to 5 of the search, six trainings of the confirmation, and trials 12 to 14 after --extend."""
    return extended(confirmed(campaign("promote", "random", trials=6)), 3)


@pytest.mark.parametrize("number", [0, 5, 12, 14])
def test_a_trial_is_found_by_its_number(gone_on, number):
    assert [trial.number for trial in gone_on.search] == [*range(6), 12, 13, 14]
    assert winning_trial(gone_on, number) is gone_on.trials[number]


def test_a_number_that_is_none_of_the_search_is_refused_with_those_that_are(gone_on):
    with pytest.raises(
        ConfigError, match=r"--trial 7: that is a training of campaign's confirmation, of trial 0; "
    ) as no:
        winning_trial(gone_on, 7)
    assert "the search has trials 0 to 5 and 12 to 14" in no.value.message
    for number in (15, -1):
        with pytest.raises(
            ConfigError, match=rf"--trial {number}: campaign has no such trial; the search has trials 0 to"
        ):
            winning_trial(gone_on, number)
    with pytest.raises(ConfigError, match="--trial 0: campaign has no trials yet"):
        winning_trial(State(campaign=campaign()), 0)


def evidence(state: State, number: int) -> str:
    lines = as_recipe(state, winning_trial(state, number), "shapes", {"train.epochs": 9}).splitlines()
    assert all(line.startswith("#") for line in lines[:4])
    assert lines[4] == "extends: shapes"
    return lines[1].removeprefix("# evidence: ")


def test_each_trial_has_its_own_evidence():
    """Two were confirmed, one of them beyond noise; what is said of the winner is not evidence for the other."""
    state, _ = play(campaign("none", "random", trials=4), BASE, lambda _: [0.5] * 9)
    found = Evidence(
        base_score=0.41,
        base_seeds=(0.40, 0.41, 0.42),
        compared=(Compared(3, 0.5, 0.09, 0.05, 0.13), Compared(1, 0.42, 0.01, -0.02, 0.04)),
        confidence=0.95,
        seeds=3,
        images=40,
    ).as_json()
    found["sentence"] += "; on 3 of 4 seeds: trial 1 with seed 1003 failed (out of memory\nat line 2)"
    state.confirmed = found
    assert evidence(state, 3).startswith("trial 3 beats the base recipe beyond noise: AP 0.500 against 0.410, +0.090 (")
    assert evidence(state, 3).endswith("failed (out of memory at line 2)")
    assert evidence(state, 1) == (
        "trial 1 does not beat the base recipe beyond noise: AP 0.420 against 0.410, +0.010 (-0.020 to +0.040, "
        "95% interval over 40 images that the search never scored and 3 fresh seeds)"
    )
    assert evidence(state, 2) == "AP 0.5000 after 9 epochs with one seed; not confirmed, it may be luck"
    state.trials[2].state, state.trials[2].why = "failed", "out of memory\nat line 2"
    assert evidence(state, 2) == "none: it failed (out of memory at line 2)"


def test_a_winner_that_paused_at_a_rung_is_had_from_its_confirmation(gone_on):
    """A third of a training is not what was confirmed."""
    base = gone_on.trials[0]
    assert (base.state, base.epoch) == ("paused", 3)
    again = trained_whole(gone_on, base)
    assert (again.of, again.seed, again.state, again.epoch) == (0, 1000, "finished", 9)
    other = next(trial for trial in gone_on.search[1:] if trial.state == "paused")
    assert trained_whole(gone_on, other) is other, "nobody trained it again"
    whole = next(trial for trial in gone_on.search if trial.state == "finished")
    assert trained_whole(gone_on, whole) is whole


def test_a_trial_of_another_kind_than_the_recipe_is_written_with_the_settings_of_that_kind(tmp_path):
    base = Config.model_validate({**BASE, "assigner": {"kind": "fcos", "level_reach": 6.0}})
    space = {"assigner.level_reach": {"float": [4.0, 8.0]}}
    state, _ = play(
        campaign("none", "random", trials=2, space=space), base.model_dump(mode="json"), lambda _: [0.5] * 9
    )
    (tmp_path / "plain.yaml").write_text("assigner: {top_k: 7}\ntrain: {epochs: 9}\n")
    trial = state.trials[1]
    text = as_recipe(state, trial, "plain.yaml", own_settings(state, trial, loaded(tmp_path / "plain.yaml")))
    (tmp_path / "new.yaml").write_text(text)
    found = loaded(tmp_path / "new.yaml")
    assert found.assigner == with_values(base, trial.values).assigner
    assert found.assigner.level_reach == trial.values["assigner.level_reach"]
    assert found.train == base.train


def test_a_searched_kind_is_written_without_the_settings_of_the_one_that_the_campaign_set(tmp_path):
    base = Config.model_validate({**BASE, "assigner": {"kind": "fcos", "level_reach": 6.0}})
    space = {
        "assigner.kind": {"choice": ["fcos", "simota"]},
        "assigner.top_k": {"int": [5, 20], "when": {"assigner.kind": "simota"}},
    }
    state, _ = play(
        campaign("none", "random", trials=8, space=space), base.model_dump(mode="json"), lambda _: [0.5] * 9
    )
    trial = next(trial for trial in state.trials if trial.values["assigner.kind"] == "simota")
    (tmp_path / "plain.yaml").write_text("train: {epochs: 9}\n")
    text = as_recipe(state, trial, "plain.yaml", own_settings(state, trial, loaded(tmp_path / "plain.yaml")))
    assert "level_reach" not in text
    (tmp_path / "new.yaml").write_text(text)
    assert loaded(tmp_path / "new.yaml").assigner.top_k == trial.values["assigner.top_k"]


def test_what_is_not_a_recipe_is_not_written(tmp_path):
    output = tmp_path / "better.yaml"
    output.write_text("train: {epochs: 3}\n")
    with pytest.raises(ConfigError, match=r"better.yaml is not written: it would not be a recipe\nbetter.yaml:1 "):
        write_recipe("train: {epocs: 4}\n", output, lambda path: loaded(path) and None, [], force=True)
    assert output.read_text() == "train: {epochs: 3}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["better.yaml"]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_recipe("", tmp_path / "none" / "x.yaml", lambda path: None, [], force=False)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_recipe("", output / "x.yaml", lambda path: None, [], force=False)


def test_a_file_that_exists_is_replaced_by_force_alone_and_what_is_extended_never(tmp_path):
    for name, text in {
        "parent": "seed: 1\n",
        "mine": "extends: parent.yaml\n",
        "other": "extends: mine.yaml\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "link.yaml").symlink_to("mine.yaml")
    keep = recipe_files(str(tmp_path / "mine.yaml"), RECIPES)
    assert keep == [tmp_path / "mine.yaml", tmp_path / "parent.yaml"]
    for name in ("mine", "parent", "link"):
        with pytest.raises(ConfigError, match="is what the new recipe extends, and would be lost"):
            write_recipe("", tmp_path / f"{name}.yaml", lambda path: None, keep, force=True)
    with pytest.raises(ConfigError, match=r"other.yaml exists") as no:
        write_recipe("", tmp_path / "other.yaml", lambda path: None, keep, force=False)
    assert "--force" in no.value.hint
    write_recipe("new: 1\n", tmp_path / "other.yaml", lambda path: None, keep, force=True)
    assert (tmp_path / "other.yaml").read_text() == "new: 1\n"
    assert recipe_files("shapes", RECIPES)[0] == RECIPES / "shapes.yaml"
