"""Runs that a campaign which is gone has left under the names of trials: never gone on with, never touched."""

import shutil
from pathlib import Path

import pytest
from test_tune_moved import Place

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.places import open_runs
from rayox_platform.train.job import job_of, start_run
from rayox_platform.train.prepare import prepare
from rayox_platform.tune.leftover_runs import free_name, refuse_other
from rayox_platform.tune.place import keep_annotations

pytestmark = pytest.mark.slow  # torch writes checkpoints


@pytest.fixture
def place(toy_data, tmp_path) -> Place:
    return Place(tmp_path / "state", Path(shutil.copytree(toy_data, tmp_path / "data")))


def begin_run(config) -> None:
    """As a part does it: the checkpoint of step 0."""
    prepared = prepare(config, resume=False)
    start_run(job_of(prepared, "cpu"), prepared.network)
    keep_annotations(prepared.home.shared, prepared.images)


def test_a_campaign_begun_anew_leaves_the_runs_of_the_one_before_alone(place, monkeypatch):
    """Its ledger is gone, and the recipe's seed is another now."""
    driver = place.open(monkeypatch, resume=False)
    first = driver.next_part()
    begin_run(first.config)
    home = open_runs(first.config.storage).home(first.config.name)
    content = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    shutil.rmtree(place.state / "campaigns")

    said: list[str] = []
    again = place.open(monkeypatch, resume=False, seed=7)
    again.say = said.append
    part = again.next_part()
    assert part.config.name == "campaign-000-2"
    assert again.state.trials[0].run == "campaign-000-2"
    (line,) = said
    assert line.startswith("there is a run campaign-000 of other settings in ")
    assert "this trial's run is campaign-000-2" in line
    assert {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()} == content
    with pytest.raises(ConfigError, match=r"a run campaign-000 of other settings \(train\.seed 0, not 7\)"):
        refuse_other(home.checkpoints.choose(), part.config.model_copy(update={"name": "campaign-000"}))


def test_a_run_of_the_same_settings_and_data_is_the_trials_own(place, monkeypatch):
    """As after a ledger that lost its last records."""
    driver = place.open(monkeypatch, resume=False)
    begin_run(driver.next_part().config)
    shutil.rmtree(place.state / "campaigns")
    again = place.open(monkeypatch, resume=False)
    part = again.next_part()
    assert part.config.name == "campaign-000"
    runs, said = open_runs(part.config.storage), []
    refuse_other(runs.home("campaign-000").checkpoints.choose(), part.config)
    for split in ("train", "val"):
        path = place.data / f"{split}.json"
        path.write_text(path.read_text().replace("bright", "light"))
    assert free_name(runs, "campaign-000", part.config, said.append) == "campaign-000-2"
    assert len(said) == 1


def test_a_run_that_takes_over_weights_takes_none_that_is_there(place, monkeypatch):
    driver = place.open(monkeypatch, resume=False)
    begin_run(driver.next_part().config)
    runs = open_runs(driver.base.storage)
    assert free_name(runs, "campaign-000", None, print) == "campaign-000-2"
    assert free_name(runs, "campaign-001", None, print) == "campaign-001"
