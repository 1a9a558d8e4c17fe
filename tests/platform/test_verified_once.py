"""A start reads the weights of its checkpoint once on the driver: chosen, verified and handed on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from make_checkpoint import FACTS, golden_state
from toy_runs import toy_config

from rayox.config import load_recipe
from rayox.run_settings import resumed_run
from rayox_model.checkpoint import snapshot
from rayox_model.checkpoint.snapshot import RAW, averaged_weights, restore, take_snapshot
from rayox_model.train.engine import new_state
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.bucket_checkpoints import BucketCheckpoints
from rayox_platform.runs.checkpoints import FolderCheckpoints
from rayox_platform.runs.event_kinds import CheckpointSkipped
from rayox_platform.train.job import Measured, extend_run, facts_of, fork_run, job_of, start_run
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import train

pytestmark = pytest.mark.slow
LAST = 9  # the toy run's last step, after which a start needs no Ray
GIVEN = Capacity(1, 1.0, 1, False, 1.0, 1)


@pytest.fixture
def hashed(monkeypatch) -> Counter[str]:
    """How often the weights in each folder have been hashed, but for those just written."""
    counted: Counter[str] = Counter()
    real = snapshot._sha256

    def counting(path: Path) -> str:
        if path.name == RAW and path.parent.name.startswith("step-"):
            counted[path.parent.name] += 1
        return real(path)

    monkeypatch.setattr(snapshot, "_sha256", counting)
    return counted


@pytest.fixture
def storage(toy_data, tmp_path, monkeypatch) -> Path:
    """Two runs whose drivers died after the last step; rayox-b is the later."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    for name in ("rayox-a", "rayox-b"):
        prepared = prepare(toy_config(toy_data, tmp_path, name), resume=False)
        job = job_of(prepared, "cpu")
        start_run(job, prepared.network)
        for step in (6, LAST):
            write(job, prepared.network, step)
    return tmp_path


def write(job, network, step):
    state = new_state(network, job.engine, torch.device("cpu"))
    state.step = step
    job.checkpoints.write(take_snapshot(state, facts_of(job, state, step // 3, Measured())))


def resumed(storage, asked, extend=0):
    """As `rayox train --resume …` prepares it."""
    config, chosen = resumed_run(load_recipe(None, [f"storage={storage}"]), asked, extend)
    return prepare(config, resume=chosen, extend=extend > 0)


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("asked", ["rayox-b", "auto"])
def test_a_resumed_run_is_verified_once(storage, hashed, asked):
    prepared = resumed(storage, asked)
    assert prepared.home.name == "rayox-b"
    assert train(prepared, GIVEN).step == LAST
    assert hashed == {"step-00000009": 1}


@pytest.mark.parametrize("asked", ["rayox-b", "auto"])
def test_a_damaged_one_is_read_once_and_said_once(storage, hashed, asked):
    prepared = resumed(storage, "rayox-b")
    write(job_of(prepared, "cpu"), prepared.network, 12)
    damage(storage / "rayox-b" / "checkpoints" / "step-00000012" / RAW)
    hashed.clear()
    events = []
    assert train(resumed(storage, asked), GIVEN, events.append).step == LAST
    assert hashed == {"step-00000012": 1, "step-00000009": 1}
    (said,) = [event.text for event in events if isinstance(event, CheckpointSkipped)]
    assert "step-00000012" in said


def test_auto_takes_the_run_before_where_nothing_of_the_last_is_whole(storage, hashed):
    for path in storage.glob("rayox-b/checkpoints/*/" + RAW):
        damage(path)
    assert resumed(storage, "auto").home.name == "rayox-a"
    assert hashed["step-00000009"] == 2, "the damaged one and the one taken"


def test_a_checkpoint_written_between_the_choice_and_the_claim_is_taken(storage, hashed):
    last = storage / "rayox-b" / "checkpoints" / "step-00000009"
    last.rename(storage / "later")
    prepared = resumed(storage, "rayox-b")
    assert prepared.chosen.name == "step-00000006"
    (storage / "later").rename(last)
    assert train(prepared, GIVEN).step == LAST
    assert hashed == {"step-00000006": 1, "step-00000009": 1}


def test_an_extended_and_a_forked_run_read_theirs_once(storage, hashed, toy_data):
    prepared = resumed(storage, "rayox-b", extend=1)
    extend_run(job_of(prepared, "cpu"), prepared.network, prepared.chosen.checkpoint)
    assert hashed == {"step-00000009": 1}
    prepared = prepare(toy_config(toy_data, storage, "fork"), resume=False)
    fork_run(job_of(prepared, "cpu"), prepared.network, storage / "rayox-a" / "checkpoints" / "step-00000006")
    assert hashed == {"step-00000009": 1, "step-00000006": 1}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_worker_reads_what_it_loads_once(bucket, tmp_path, hashed, kind):
    kept = BucketCheckpoints(bucket) if kind == "bucket" else FolderCheckpoints(tmp_path / "run")
    name = kept.write(take_snapshot(golden_state(), replace(FACTS, step=3)))
    kept.fetch(name)
    hashed.clear()
    whole = kept.verified(name)
    assert restore(whole, golden_state()).step == 3
    assert averaged_weights(whole)
    assert list(hashed.values()) == [1]
