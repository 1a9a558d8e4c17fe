"""The ledger: killed at any write, truncated or damaged, a campaign goes on with every trial once, or is refused."""

import json
import os
import subprocess
import sys
import time

import pytest
import tune_drive
from simulate import play
from tune_toys import BASE, campaign, curve

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.runs.journal import encoded, open_journal
from rayox_platform.storage.folders import LocalFolder
from rayox_platform.tune.campaign_home import campaign_home, campaign_names, find_campaign
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import Ledger, read_state
from rayox_platform.tune.ledger_records import (
    Driven,
    Ended,
    Extended,
    Finished,
    Moved,
    Opened,
    Paused,
    Planned,
    Reported,
    Started,
    from_record,
    to_record,
)
from rayox_platform.tune.table import shown_state


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(open_journal(LocalFolder(tmp_path), "ledger"))
    ledger.tell(Opened(campaign=campaign("promote", trials=6).model_dump(mode="json"), config=BASE, version="0"))
    return ledger


def test_what_was_told_is_the_state_of_whoever_reads(ledger, tmp_path):
    ledger.take_over()
    ledger.tell(Planned(trial=0, values={"assigner.top_k": 10}, seed=0, run="c-000", attributes={"a": 1}))
    ledger.tell(Started(trial=0, until=1))
    ledger.tell(Reported(trial=0, epoch=1, metrics={"AP": 0.25}, seconds=2.0))
    ledger.tell(Paused(trial=0, epoch=1, checkpoint="step-3"))
    state = read_state(open_journal(LocalFolder(tmp_path), "ledger"))
    assert state.trials == ledger.state.trials
    trial = state.trials[0]
    assert (trial.state, trial.epoch, trial.checkpoint, trial.seconds) == ("paused", 1, "step-3", 2.0)
    assert state.score(trial) == 0.25
    assert state.epochs_trained == 1


def test_records_survive_their_form(ledger):
    for event in (Driven(host="h", pid=1), Extended(budget={"trials": 9}), Finished(trial=0, metrics={"AP": 1.0})):
        assert from_record(json.loads(json.dumps(to_record(event, 5.0))), "x") == (event, 5.0)
    with pytest.raises(DataError, match="ledger:3: a record 'flew' is not known"):
        from_record({"kind": "flew", "time": 1.0}, "ledger:3")


def test_records_of_an_earlier_version_are_read():
    opened = {"kind": "opened", "campaign": campaign().model_dump(mode="json"), "config": BASE, "version": "0"}
    state = State()
    for record in (opened, {"kind": "extended", "budget": {"trials": 30}}):
        state.apply(*from_record(record | {"time": 5.0}, "x"))
    assert (state.campaign.budget.trials, state.warm_from, state.given, state.regardless) == (30, "", None, 0)


def test_a_new_driver_owes_what_ran_and_an_epoch_counts_once(ledger):
    ledger.tell(Planned(trial=0, values={}, seed=0, run="c-000"))
    ledger.tell(Started(trial=0, until=3))
    ledger.tell(Reported(trial=0, epoch=1, metrics={"AP": 0.25}, seconds=2.0))
    ledger.take_over()
    trial = ledger.state.trials[0]
    assert (trial.state, trial.owed, trial.until) == ("paused", True, 3)
    ledger.tell(Started(trial=0, until=3))
    ledger.tell(Reported(trial=0, epoch=1, metrics={"AP": 0.25}, seconds=2.0))
    assert (ledger.state.epochs_trained, trial.seconds) == (1, 2.0)


def test_time_between_drivers_is_not_counted():
    settings = campaign().model_dump(mode="json")
    state = play(campaign("none", "random", trials=1), BASE, curve).state
    assert state.driven_seconds == 9.0
    state = State()
    state.apply(Opened(campaign=settings, config=BASE, version="0"), 100.0)
    state.apply(Driven(host="h", pid=1), 100.0)
    state.apply(Ended(status="interrupted", why=""), 160.0)
    state.apply(Driven(host="h", pid=2), 1000.0)
    state.apply(Ended(status="finished", why=""), 1030.0)
    assert state.driven_seconds == 90.0


def test_a_night_between_a_kill_and_a_longer_budget_is_not_counted():
    """What the command line changes is written before the new driver's first word."""
    state = State()
    state.apply(Opened(campaign=campaign().model_dump(mode="json"), config=BASE, version="0"), 100.0)
    state.apply(Driven(host="h", pid=1), 100.0)
    state.apply(Planned(trial=0, values={}, seed=0, run="c-000"), 110.0)
    state.apply(Moved(recipe="shapes", values={}, data={}), 50_000.0)
    state.apply(Extended(budget={"hours": 2.0}), 50_001.0)
    state.apply(Driven(host="h", pid=2), 50_002.0)
    state.apply(Started(trial=0, until=1), 50_005.0)
    assert state.driven_seconds == 13.0


def test_what_ran_when_a_driver_left_does_not_run_any_more(ledger):
    ledger.tell(Planned(trial=0, values={}, seed=0, run="c-000"))
    ledger.tell(Started(trial=0, until=3))
    ledger.tell(Ended(status="interrupted", why="interrupted"))
    trial = ledger.state.trials[0]
    assert (trial.state, trial.owed, shown_state(trial, "")) == ("paused", True, "cut off")
    ledger.tell(Paused(trial=0, epoch=1))
    assert shown_state(trial, "") == "paused", "at its rung"


@pytest.mark.slow
def test_ten_thousand_trials_are_replayed_in_seconds(tmp_path):
    events = [Opened(campaign=campaign(trials=10_000).model_dump(mode="json"), config=BASE, version="0")]
    values = {"assigner.center_radius": 1.5, "assigner.top_k": 10, "assigner.iou_cost_weight": 3.0}
    for trial in range(10_000):
        events.append(Planned(trial=trial, values=values, seed=0, run=f"c-{trial}"))
        events.append(Started(trial=trial, until=1))
        events.append(Reported(trial=trial, epoch=1, metrics={"AP": 0.5, "AP50": 0.7}, seconds=1.0))
        events.append(Paused(trial=trial, epoch=1, checkpoint="step-1"))
    lines = [encoded(number, to_record(event, float(number))) for number, event in enumerate(events)]
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(lines))
    began = time.process_time()
    state = read_state(open_journal(LocalFolder(tmp_path), "ledger"))
    assert time.process_time() - began < 10, "2 s on an idle core"
    assert len(state.trials) == 10_000
    assert state.best is not None


def test_a_truncated_ledger_goes_on_from_its_last_whole_record_and_a_flipped_bit_is_refused(tmp_path):
    tune_drive.drive(str(tmp_path))
    path = tmp_path / "ledger.jsonl"
    content = path.read_bytes()
    for cut in (len(content) // 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        state = tune_drive.drive(str(tmp_path))
        assert sorted(trial.state for trial in state.trials).count("finished") >= 1
        assert not any(trial.state == "running" for trial in state.trials)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"ledger\.jsonl:\d+: this record is damaged"):
        tune_drive.drive(str(tmp_path))
    assert path.read_bytes() == flipped


def test_a_campaign_has_one_driver_and_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    home = campaign_home(None, "mine")
    with pytest.raises(ConfigError, match="mine: no such campaign"):
        find_campaign(None, "mine")
    with home.claim():
        home.journal().append(to_record(Driven(host="h", pid=1), 1.0))
        code = "from rayox_platform.tune.campaign_home import *\nwith campaign_home(None, 'mine').claim(): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"campaign mine is being driven by process {os.getpid()}" in other.stderr
        assert home.holder()
    assert home.holder() is None
    assert home.beside("other") == campaign_home(None, "other")
    assert campaign_names(None) == ["mine"]
    assert find_campaign(None, "mine").is_begun()
    with pytest.raises(ConfigError, match="other: no such campaign in "):
        find_campaign(None, "other")
    with pytest.raises(ConfigError, match="cannot be a campaign's name"):
        campaign_home(None, "a/b")


@pytest.mark.slow
def test_campaigns_in_a_bucket(bucket, bucket_door, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    home = campaign_home(str(bucket), "mine")
    with home.claim():
        state = tune_drive.drive_journal(home, home.journal())
        with pytest.raises(ConfigError, match=r"campaign mine in .* is being driven by process"), home.claim():
            pass
    assert home.beside("other") == campaign_home(str(bucket), "other")
    assert campaign_names(str(bucket)) == ["mine"]
    assert read_state(find_campaign(str(bucket), "mine").journal()).trials == state.trials
