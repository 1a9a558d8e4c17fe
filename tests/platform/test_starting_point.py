"""One start of training, one checkpoint: chosen where the stream begins, the same for every worker."""

from dataclasses import replace

import pytest
import torch
from toy_runs import toy_config

from rayox_model.checkpoint.snapshot import take_snapshot
from rayox_model.core.errors import ModelError
from rayox_model.train.engine import new_state
from rayox_platform.runs.event_kinds import CheckpointSkipped
from rayox_platform.train.job import Measured, facts_of, job_of, start_run
from rayox_platform.train.prepare import prepare
from rayox_platform.train.starting_point import choose, chosen

pytestmark = pytest.mark.slow


@pytest.fixture
def job(toy_data, tmp_path, monkeypatch):
    """A run with checkpoints of steps 0 and 3."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    prepared = prepare(toy_config(toy_data, tmp_path, "mine"), resume=False)
    job = job_of(prepared, "cpu")
    start_run(job, prepared.network)
    write(job, prepared.network, 3)
    return job, prepared.network


def write(job, network, step):
    state = new_state(network, job.engine, torch.device("cpu"))
    state.step = step
    return job.checkpoints.write(take_snapshot(state, replace(facts_of(job, state, 1, Measured()), step=step)))


@pytest.mark.slow
def test_what_was_chosen_stays_so_when_a_later_checkpoint_comes(job):
    job, network = job
    assert choose(job) == chosen(job) == "step-00000003"
    write(job, network, 6)
    assert chosen(job) == "step-00000003"
    assert choose(job) == chosen(job) == "step-00000006"


def test_a_damaged_one_is_skipped_and_told(job):
    job, _ = job
    path = job.checkpoints.fetch("step-00000003") / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert choose(job) == chosen(job) == "step-00000000"
    (event,) = [event for event in job.home.events.read() if isinstance(event, CheckpointSkipped)]
    assert "step-00000003" in event.text


def test_one_that_the_driver_has_chosen_is_taken(job):
    job, _ = job
    assert choose(job, "step-00000000") == chosen(job) == "step-00000000"


def test_without_a_whole_one_there_is_no_start(job):
    job, _ = job
    for name in ("step-00000000", "step-00000003"):
        (job.checkpoints.fetch(name) / "manifest.json").unlink()
    with pytest.raises(ModelError, match="no whole checkpoint"):
        choose(job)
