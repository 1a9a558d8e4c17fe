"""Rank 0 at work on a run in a bucket: the store goes away and comes back, and the driver asks for a stop."""

import time
from pathlib import Path

import pytest
import torch
from patience import wait_until
from toy_runs import toy_config

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.train.engine import new_state
from rayox_platform.config import Config
from rayox_platform.runs.event_kinds import Checkpoint, CheckpointFailed, Urgent
from rayox_platform.train.fault_injection import _first_time
from rayox_platform.train.job import job_of, newest, start_run
from rayox_platform.train.prepare import prepare
from rayox_platform.train.saving import Saver
from rayox_platform.train.watchdog import Watchdog

pytestmark = pytest.mark.slow


@pytest.fixture
def job(bucket, toy_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    config = toy_config(toy_data, Path("unused"), "mine").model_dump() | {"storage": str(bucket).removesuffix("/mine")}
    prepared = prepare(Config.model_validate(config), resume=False)
    job = job_of(prepared, "cpu")
    start_run(job, prepared.network)
    return job, new_state(prepared.network, job.engine, torch.device("cpu"))


def test_an_outage_costs_the_checkpoints_in_it_and_nothing_else(job, bucket_door):
    job, state = job
    log = job.home.events.log()
    with Saver(job, log) as saver:
        for step, away in ((1, False), (2, True), (3, True), (4, False)):
            bucket_door.refused = lambda method, path, away=away: away
            state.step = step
            saver.save(state, 0, {})
            saver._writer.wait()
    events = job.home.events.read()
    assert [(type(event), event.step) for event in events] == [(kind, step) for step, kind in enumerate(KINDS, 1)]
    assert "the checkpoint of step 2 could not be written to s3://bucket/runs/mine/checkpoints: " in events[1].text
    assert "503" in events[1].text
    assert step_of(newest(job).name) == 4
    assert not [path for path in job.home.shared.files() if "step-00000002" in path or "step-00000003" in path]


KINDS = (Checkpoint, CheckpointFailed, CheckpointFailed, Checkpoint)


def test_a_stop_is_heard_of_and_its_step_saved_once(job):
    job, state = job
    log = job.home.events.log()
    with Saver(job, log) as saver:
        state.step = 5
        saver.after_step(state, 0)
        assert step_of(newest(job).name) == 0
        job.home.shared.write("stop", b"")
        wait_until(lambda: saver.asked_to_stop)
        saver.after_step(state, 0)
        assert step_of(newest(job).name) == 0, "rank 0 alone does not stop"
        saver.save_last(state, 0)
        assert step_of(newest(job).name) == 5
        assert [type(event) for event in job.home.events.read()] == [Checkpoint, Urgent]


def test_marks_of_a_drill_and_stacks_lie_in_the_bucket(job):
    job, _ = job
    assert [_first_time(job.home.shared, ".killed-rank0-step1") for _ in range(3)] == [True, False, False]
    for _ in range(2):
        with Watchdog(job.home.shared, 1, timeout_seconds=0.2):
            time.sleep(1.0)
    stacks = job.home.shared.read("stacks/rank-1.txt").decode()
    assert stacks.count("rank 1, process") == 2, "a second hang is added to the first"
    assert "test_marks_of_a_drill" in stacks
