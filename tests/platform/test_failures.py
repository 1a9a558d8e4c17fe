"""What Ray's wrapped errors are told as: the kind by its exit code, and what is true of the run's checkpoints."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from make_checkpoint import FACTS, save_checkpoint
from ray.train import WorkerGroupError
from ray.train.v2.api.exceptions import ControllerError
from toy_engine import ENGINE

from rayox_model.core.errors import ConfigError, DataError, TrainingError
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.home import FolderHome
from rayox_platform.train.failures import as_user_error, how_to_go_on

GIVEN = Capacity(2, 0.5, 1, False, 1.0, 2)


@pytest.fixture
def job(tmp_path):
    """The parts of a job that are looked at: a run that has started twice, the first time before this driver."""
    home = FolderHome(tmp_path / "run")
    home.folder.mkdir()
    for _ in range(2):
        home.events.tell(Start(step=0))
    return SimpleNamespace(
        home=home,
        checkpoints=home.checkpoints,
        config=SimpleNamespace(train=SimpleNamespace(timeout_seconds=30.0, max_failures=3)),
    )


def failed(error):
    return WorkerGroupError("two workers failed", {0: error})


def test_restarts_are_those_that_were_and_not_those_that_may_be(job):
    told = as_user_error(failed(ValueError("odd")), job, GIVEN, starts_before=1)
    assert isinstance(told, TrainingError)
    assert "training stopped: " in told.message
    job.home.events.tell(Start(step=0))
    assert "training stopped after 1 restart: " in as_user_error(failed(ValueError()), job, GIVEN, 1).message


def test_a_run_without_a_checkpoint_is_not_said_to_have_one(job):
    assert "cannot be read now" in how_to_go_on(job)
    folder = job.home.folder / "checkpoints"
    (folder / "step-00000000").mkdir(parents=True)
    assert "cannot be read now" in how_to_go_on(job), "half of one is none"


@pytest.mark.slow
def test_a_run_goes_on_from_the_step_that_a_checkpoint_has_or_begins_again(job):
    state = new_state(YOLOX("nano", 2), ENGINE, torch.device("cpu"))
    save_checkpoint(job.home.folder / "checkpoints", state, replace(FACTS, step=0))
    assert how_to_go_on(job) == "it has trained no step that a checkpoint has: --resume run begins it again"
    save_checkpoint(job.home.folder / "checkpoints", state, replace(FACTS, step=7))
    assert how_to_go_on(job) == "continue from its checkpoint of step 7 with --resume run"


def test_a_storage_that_fails_is_no_failed_training(job):
    gone = PermissionError(13, "Permission denied", str(job.home.folder / "events.jsonl"))
    told = as_user_error(failed(gone), job, GIVEN, 1)
    assert isinstance(told, ConfigError)
    assert f"storage: a worker cannot use {job.home}" in told.message
    store = OSError("When uploading part for key 'x': AWS Error ACCESS_DENIED during UploadPart operation")
    assert "ACCESS_DENIED" in as_user_error(failed(store), job, GIVEN, 1).message
    other = OSError(111, "Connection refused", "/elsewhere")
    assert isinstance(as_user_error(failed(other), job, GIVEN, 1), TrainingError)


def test_a_users_own_error_is_found_under_all_that_wraps_it(job):
    wrapped = ControllerError(failed(DataError("img7.png: no such image (on node two)", "look")))
    told = as_user_error(wrapped, job, GIVEN, 1)
    assert isinstance(told, DataError)
    assert told.message == "img7.png: no such image (on node two)"
