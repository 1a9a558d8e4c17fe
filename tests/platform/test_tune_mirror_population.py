"""A population in MLflow: one run for each trial, whatever it takes over and however often MLflow is told."""

import json

import pytest
from mlflow import MlflowClient
from test_tune_mirror import VALUES, statuses
from tune_toys import BASE, campaign

from rayox_platform.track.tracking import connect
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Ended, Exploited, Finished, Opened, Paused, Planned, Reported, Started
from rayox_platform.tune.mirror import Mirror


def trained(ledger: Ledger, trial: int, until: int) -> None:
    ledger.tell(Started(trial=trial, until=until))
    for epoch in range(ledger.state.trials[trial].epoch + 1, until + 1):
        ledger.tell(Reported(trial=trial, epoch=epoch, metrics={"AP": 0.1 * trial}, seconds=1.0))
    ended = Finished(trial=trial) if until == 9 else Paused(trial=trial, epoch=until, checkpoint=f"step-{until}")
    ledger.tell(ended)


@pytest.mark.slow
def test_a_trial_that_takes_over_weights_keeps_its_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    ledger = Ledger(campaign_home(None, "c").journal())
    settings = campaign("pbt", trials=2, schedule={"population": 2, "every": 3}).model_dump(mode="json")
    ledger.tell(Opened(campaign=settings, config=BASE, version="0"))
    store = connect(None, tmp_path, "rayox")
    mirror = Mirror(store, "c")
    for trial in (0, 1):
        ledger.tell(Planned(trial=trial, values=VALUES, seed=0, run=f"c-00{trial}"))
        trained(ledger, trial, 3)
    mirror.bring_up_to_date(ledger.state)
    changed = VALUES | {"assigner.top_k": 12}
    ledger.tell(
        Exploited(trial=0, donor=1, epoch=3, values=changed, run="c-000-e3", donor_run="c-001", checkpoint="step-3")
    )
    mirror.bring_up_to_date(ledger.state)
    trained(ledger, 0, 9)
    trained(ledger, 1, 9)
    ledger.tell(Ended(status="finished", why="schedule.population 2"))
    for one in (mirror, Mirror(store, "c")):  # as the next driver would, which knows of nothing
        one.bring_up_to_date(ledger.state)
        assert statuses(tmp_path) == {"c": "FINISHED", "c-000": "FINISHED", "c-001": "FINISHED"}
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = {run.info.run_name: run for run in client.search_runs([store.experiment_id])}
    for name in ("c-000", "c-001"):
        history = client.get_metric_history(runs[name].info.run_id, "AP")
        assert sorted(point.step for point in history) == list(range(1, 10))
    tags = runs["c-000"].data.tags
    assert json.loads(tags["rayox.values"]) == changed
    assert tags["rayox.now"] == "c-000-e3"
    assert "rayox.values" not in runs["c-001"].data.tags
