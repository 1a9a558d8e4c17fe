"""Campaigns under fire, and with trials of several workers: minutes each (make faults)."""

import json
import random
from pathlib import Path

import pytest
from campaign_runs import CampaignRun, assert_each_once
from toy_weights import write_toy_weights

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(3600)]


def test_killed_at_six_moments_every_trial_is_there_once(toy_data, tmp_path):
    run = CampaignRun(tmp_path, toy_data, {"budget": {"trials": 6}, "confirm": {"top": 0}})
    moments = random.Random(0)
    count, arguments = 0, ["mine.yaml"]
    for _ in range(6):
        process = run.start(*arguments)
        until = count + moments.randint(1, 5)
        run.kill_when(process, lambda state, until=until: state.num_records >= until or state.ended is not None, 600)
        count = run.state().num_records
        for left in (run.folder / "state" / "campaigns" / "mine" / "ray").glob("*/tuner.pkl"):
            left.write_bytes(b"")  # Ray Tune's own notes are nothing that anybody relies on
        arguments = ["mine.yaml", "--resume"]
    run.run(*arguments)
    assert_each_once(run, trials=6)


@pytest.mark.parametrize("workers", [1, 2])
def test_eight_trials_on_two_cores_never_wait_forever(toy_data, tmp_path, workers):
    changed = {"budget": {"trials": 8}, "concurrency": 2, "confirm": {"top": 0}, "schedule": "none"}
    run = CampaignRun(tmp_path, toy_data, changed, workers=workers, epochs=1, closing_epochs=0, warmup_epochs=0.5)
    assert len(run.run("mine.yaml")["trials"]) == 8
    assert {trial.state for trial in run.state().trials} == {"finished"}


def test_a_population_of_two_worker_trials_takes_over_weights(toy_data, tmp_path):
    changed = {
        "set": {"model.init": str(write_toy_weights(toy_data, tmp_path))},
        "space": {"train.learning_rate": {"log": [2e-4, 4e-3]}},
        "schedule": {"kind": "pbt", "population": 4, "every": 1},
        "budget": {"trials": 4},
        "confirm": {"top": 0},
    }
    run = CampaignRun(tmp_path, toy_data, changed, workers=2, epochs=3)
    run.run("mine.yaml")
    exploits = [exploit for trial in run.state().trials for exploit in trial.exploits]
    assert exploits
    for exploit in exploits:
        step = exploit.epoch * 3 + 1
        mine, donors = (_losses(run, name).get(step) for name in (exploit.run, exploit.donor_run))
        assert mine is not None
        assert mine == donors, "a learning rate shows a step later: the first loss is the donor's next"


def _losses(run: CampaignRun, name: str) -> dict[int, float]:
    """By step, of those that were told one by one."""
    path = Path(run.folder, "state", "runs", name, "events.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return {event["step"]: event["loss_total"] for event in events if event["kind"] == "progress"}
