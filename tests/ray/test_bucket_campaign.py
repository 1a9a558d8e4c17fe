"""A campaign whose ledger and runs lie in a bucket: its driver killed, another machine goes on with it."""

import pytest
from campaign_runs import CampaignRun, assert_each_once
from object_store import make_bucket, moto_store, point_to
from patience import wait_until

from rayox_platform.tune.campaign_home import campaign_home

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1800)]
STORAGE = "s3://bucket/some/runs"


@pytest.fixture
def bucket(monkeypatch):
    with moto_store() as address:
        point_to(monkeypatch, address)
        make_bucket(address)
        yield


def test_a_killed_campaign_in_a_bucket_is_gone_on_with_by_another_machine(bucket, toy_data, tmp_path):
    run = CampaignRun(tmp_path, toy_data, {"confirm": {"top": 0}})
    home = campaign_home(STORAGE, "mine")
    run.ledger = home.shared
    words = ["mine.yaml", f"storage={STORAGE}"]
    process = run.start(*words)
    run.kill_when(process, lambda state: any(trial.reports for trial in state.trials), 600)
    done = {trial.number for trial in run.state().trials if trial.reports}

    run.machine = "another machine"
    wait_until(lambda: home.holder() is None, 120, "its driver is still thought to live")
    run.run(*words, "--resume")
    assert_each_once(run, trials=4)
    assert done <= {trial.number for trial in run.state().trials if trial.state in ("finished", "pruned", "paused")}
    assert not (tmp_path / "state" / "campaigns").exists()
    assert {"ledger"} <= {name.partition(".")[0].partition("/")[0] for name in run.ledger.files()}
