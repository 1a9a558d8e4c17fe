"""A campaign in MLflow, made from its ledger: one parent, one child for each trial, however often it is made."""

import pytest
from mlflow import MlflowClient
from tune_toys import BASE, campaign, curve

from rayox_platform.runs.journal import say_nothing
from rayox_platform.track.tracking import connect, open_run
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Ended, Failed, Finished, Opened, Paused, Planned, Reported, Started
from rayox_platform.tune.mirror import Mirror, send_rest

VALUES = {"assigner.center_radius": 1.5, "assigner.top_k": 10, "assigner.iou_cost_weight": 3.0}


@pytest.mark.slow
def test_what_the_ledger_says_is_in_mlflow_once(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    home = campaign_home(None, "mine")
    ledger = Ledger(home.journal())
    ledger.tell(Opened(campaign=campaign(trials=3).model_dump(mode="json"), config=BASE, version="0"))
    for trial, epochs in enumerate((9, 1, 0)):
        ledger.tell(Planned(trial=trial, values=VALUES, seed=0, run=f"mine-{trial}"))
        ledger.tell(Started(trial=trial, until=max(epochs, 1)))
        for epoch in range(1, epochs + 1):
            ledger.tell(Reported(trial=trial, epoch=epoch, metrics={"AP": curve(VALUES)[epoch - 1]}, seconds=1.0))
    ledger.tell(Finished(trial=0))
    ledger.tell(Paused(trial=1, epoch=1))
    store = connect(None, tmp_path, "rayox")
    Mirror(store, "mine").bring_up_to_date(ledger.state)
    assert statuses(tmp_path) == {"mine": "RUNNING", "mine-0": "FINISHED", "mine-1": "RUNNING", "mine-2": "RUNNING"}
    ledger.tell(Failed(trial=2, why="out of memory", code="training"))
    ledger.tell(Ended(status="finished", why="budget.trials 3"))
    for _ in range(2):  # as a second driver would, which knows of nothing
        send_rest(Mirror(store, "mine"), home, 0.0, say_nothing)
    assert statuses(tmp_path) == {"mine": "FINISHED", "mine-0": "FINISHED", "mine-1": "KILLED", "mine-2": "FAILED"}
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = {run.info.run_name: run for run in client.search_runs([store.experiment_id])}
    assert len(client.get_metric_history(runs["mine-0"].info.run_id, "AP")) == 9
    assert runs["mine-0"].data.params["assigner.top_k"] == "10"
    assert runs["mine-2"].data.tags["rayox.why"] == "out of memory"
    assert runs["mine-1"].data.tags["mlflow.parentRunId"] == runs["mine"].info.run_id
    assert runs["mine"].data.tags["rayox.best_run"] == "mine-0"
    names = {one.path for one in client.list_artifacts(runs["mine"].info.run_id, "report")}
    assert "report/report.html" in names


@pytest.mark.slow
def test_what_is_known_of_a_whole_trial_after_its_last_report_comes_too(tmp_path, monkeypatch):
    """MLflow was told of the last epoch before the trial had been weighed; the campaign was interrupted then."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    ledger = Ledger(campaign_home(None, "mine").journal())
    settings = campaign("none", trials=2, metrics={"AP": "max", "parameters": "min"}).model_dump(mode="json")
    ledger.tell(Opened(campaign=settings, config=BASE, version="0"))
    store = connect(None, tmp_path, "rayox")
    mirror = Mirror(store, "mine")
    for trial in range(2):
        ledger.tell(Planned(trial=trial, values=VALUES, seed=0, run=f"mine-{trial}"))
        ledger.tell(Started(trial=trial, until=9))
    ledger.tell(Reported(trial=0, epoch=9, metrics={"AP": 0.5}, seconds=1.0))
    mirror.bring_up_to_date(ledger.state)
    ledger.tell(Finished(trial=0, metrics={"parameters": 912082.0}))
    ledger.tell(Ended(status="interrupted", why="interrupted"))
    mirror.bring_up_to_date(ledger.state)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = {run.info.run_name: run for run in client.search_runs([store.experiment_id])}
    assert runs["mine-0"].data.metrics == {"AP": 0.5, "parameters": 912082.0}
    assert len(client.get_metric_history(runs["mine-0"].info.run_id, "AP")) == 1
    assert statuses(tmp_path) == {"mine": "KILLED", "mine-0": "FINISHED", "mine-1": "KILLED"}


@pytest.mark.slow
def test_a_training_of_the_campaigns_name_keeps_its_run(tmp_path, monkeypatch):
    """Whichever came first; and the run that an earlier version made of a campaign is gone on with."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    store = connect(None, tmp_path, "rayox")
    training = open_run(store, "mine", {"a": "1"}, {})
    training.set_status("FINISHED", 1.0)
    old = open_run(store, "old", {}, {"rayox.kind": "campaign"})
    state = State()
    state.apply(Opened(campaign=campaign(trials=3).model_dump(mode="json"), config=BASE, version="0"), 1.0)
    for name in ("mine", "old"):
        Mirror(store, name).bring_up_to_date(state)
        Mirror(store, name).bring_up_to_date(state)
    runs = store.client.search_runs([store.experiment_id])
    found = sorted((run.info.run_name, run.info.status, run.data.tags.get("rayox.kind")) for run in runs)
    assert found == [("mine", "FINISHED", None), ("mine", "RUNNING", "campaign"), ("old", "RUNNING", "campaign")]
    assert open_run(store, "mine", {}, {}).run_id == training.run_id
    assert old.run_id in {run.info.run_id for run in runs}


def statuses(folder):
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("rayox").experiment_id])
    assert len(runs) == len({run.info.run_name for run in runs})
    return {run.info.run_name: run.info.status for run in runs}
