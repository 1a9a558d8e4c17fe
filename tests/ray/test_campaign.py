"""A real campaign on Ray Tune whose driver is killed: it goes on, forgets nothing, and says whether there is a gain.

It goes on in another place: its state folder and its data have been moved meanwhile.
"""

import shutil

import pytest
from campaign_runs import CampaignRun, assert_each_once
from mlflow import MlflowClient
from sessions import processes_of, wait_until_gone

from rayox_model.checkpoint.snapshot import read_facts
from rayox_platform.runs.overview import list_runs
from rayox_platform.runs.places import FolderRuns

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]  # on a busy machine Ray alone takes minutes to start


@pytest.fixture(scope="module")
def ended(toy_data, tmp_path_factory):
    """(run, result) of four trials whose driver was killed in the middle of the third, and all moved after that."""
    folder = tmp_path_factory.mktemp("campaign")
    run = CampaignRun(folder / "here", shutil.copytree(toy_data, folder / "here" / "data"))
    process = run.start("mine.yaml")
    run.kill_when(process, lambda state: len(state.trials) > 2 and state.trials[2].state == "running")
    assert [trial.state for trial in run.state().trials][:2] == ["paused", "paused"]
    wait_until_gone(processes_of(process.pid), 150)  # Ray's agents look for a dead GCS for 60 s before they end
    (folder / "here").rename(folder / "there")
    run = CampaignRun(folder / "there", folder / "there" / "data")
    return run, run.run("mine.yaml", "--resume")


def test_after_a_kill_every_trial_is_there_once(ended):
    run, result = ended
    assert_each_once(run, trials=4)
    assert result["status"] == "finished"
    assert len(result["trials"]) == 4
    assert result["best"]["epoch"] == 2
    assert sum(record["kind"] == "driven" for record in run.records()) == 2
    kinds = [trial.state for trial in run.state().search]
    assert kinds.count("finished") >= 1
    assert set(kinds) <= {"finished", "paused"}


def test_it_went_on_where_it_lies_now(ended):
    run, _ = ended
    assert not (run.folder.parent / "here").exists()
    (moved,) = [record for record in run.records() if record["kind"] == "moved"]
    assert moved["recipe"] == str(run.folder / "toy.yaml")
    assert moved["values"]["storage"] == str(run.folder / "state" / "runs")
    assert run.state().config["data"]["train"]["images"] == str(run.folder / "data" / "images")


def test_trials_are_ordinary_runs_with_the_settings_of_their_values(ended):
    run, _ = ended
    for trial in run.state().trials:
        folder = run.folder / "state" / "runs" / trial.run
        checkpoint = read_facts(folder / "checkpoints" / trial.checkpoint)
        assert checkpoint.config["assigner"]["top_k"] == trial.values["assigner.top_k"]
        assert checkpoint.config["train"]["seed"] == trial.seed
        assert checkpoint.epoch == trial.epoch
        assert checkpoint.metrics["AP"] == trial.reports[trial.epoch]["AP"]


def test_the_list_of_runs_says_how_each_trial_came_to_rest(ended):
    run, _ = ended
    runs = {one.name: one.state for one in list_runs(FolderRuns(run.folder / "state" / "runs"))}
    assert runs == {trial.run: trial.state for trial in run.state().trials}


def test_search_and_confirmation_are_measured_on_different_images(ended):
    run, result = ended
    state = run.state()
    parts = {trial.phase: set() for trial in state.trials}
    for trial in state.trials:
        folder = run.folder / "state" / "runs" / trial.run
        config = read_facts(folder / "checkpoints" / trial.checkpoint).config
        parts[trial.phase].add(config["data"]["val"]["annotations"])
    here = run.folder.parent / "here"  # where those were trained that came no further than the first rung
    lies = {name: f"state/campaigns/mine/val-{name}.json" for name in ("search", "confirm")}
    assert parts["search"] == {str(run.folder / lies["search"]), str(here / lies["search"])}
    assert parts["confirm"] == {str(run.folder / lies["confirm"])}
    assert result["confirmed"]["images"] == 4
    assert "one seed cannot tell a gain from luck" in result["confirmed"]["sentence"]


def test_mlflow_has_a_parent_and_one_child_for_each_trial(ended):
    run, _ = ended
    client = MlflowClient(f"sqlite:///{run.folder / 'state' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rayox")
    runs = client.search_runs([experiment.experiment_id])
    parents = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    assert [parent.info.run_name for parent in parents] == ["mine"]
    assert parents[0].info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(parents[0].info.run_id)] == ["report"]
    children = {one.info.run_name: one for one in runs if one.data.tags.get("mlflow.parentRunId")}
    trials = run.state().trials
    assert sorted(children) == sorted(trial.run for trial in trials)
    assert len(runs) == 1 + len(trials), "never two for one trial"
    for trial in trials:
        child = children[trial.run]
        assert child.info.status == ("FINISHED" if trial.state == "finished" else "KILLED")
        assert len(client.get_metric_history(child.info.run_id, "AP")) == trial.epoch


def test_a_campaign_that_is_there_is_not_begun_again(ended):
    run, _ = ended
    assert "there is a campaign mine already" in run.run("mine.yaml", code=2)["error"]["message"]
    refused = run.run("mine.yaml", "--resume", "search.seed=1", code=2)["error"]["message"]
    assert "this would make it another campaign" in refused


def test_it_is_listed_shown_reported_and_its_trials_applied(ended):
    run, _ = ended
    assert run.run("list")["campaigns"][0]["name"] == "mine"
    assert run.run("status", "mine")["status"] == "finished"
    report = run.run("report", "mine", "--optuna", f"sqlite:///{run.folder}/study.db")
    page = (run.folder / report["report"]).read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("data:image", "")
    assert len(report["pictures"]) >= 4
    run.run("apply", "mine", "--trial", "1", "-o", "better.yaml")
    recipe = (run.folder / "better.yaml").read_text()
    assert "extends: toy.yaml" in recipe
    assert f"top_k: {run.state().trials[1].values['assigner.top_k']}" in recipe
