"""A followed job whose head goes away and may come back: what is shown, and how it ends."""

import json
import threading

import played_dashboard
import pytest
from tune_toys import BASE, campaign

from rayox.jobs import following, job_end
from rayox.jobs.following import Watched, exit_code_of, follow_job
from rayox.jobs.job_register import remember
from rayox.terminal.console import Console
from rayox_cluster.jobs_api import JobsApi
from rayox_model.core.errors import ClusterError, ConfigError
from rayox_platform.runs.ending import End
from rayox_platform.runs.event_kinds import RunEvent
from rayox_platform.runs.events import FileEvents
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Opened, Planned, Started

pytestmark = pytest.mark.slow

JOB = {"submission_id": "rayox-train-1", "status": "RUNNING", "job_id": "01000000", "metadata": {}}


class Head(played_dashboard.Dashboard):
    """It knows one job, whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.job: dict | None = dict(JOB)
        self.api = JobsApi(self.url, {})

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        return (200, self.job) if self.job else played_dashboard.NOT_FOUND


@pytest.fixture
def head(monkeypatch):
    monkeypatch.setattr(following, "STATUS_SECONDS", 0.0)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    head = Head()
    yield head
    head.off()


def test_a_head_that_comes_back_is_said_and_changes_nothing(head, capsys, monkeypatch):
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.0)
    watched = Watched(head.api, "rayox-train-1", Console())
    assert watched.look().status == "RUNNING"
    head.off()
    assert watched.look().status == "RUNNING"
    assert not watched.is_over
    assert capsys.readouterr().err.count("the run goes on without it") == 1
    head.on()
    assert not watched.is_over
    assert capsys.readouterr().err == "the cluster answers again\n"
    head.job["status"] = "SUCCEEDED"
    assert watched.is_over


@pytest.mark.parametrize(("result", "status"), [(True, "SUCCEEDED"), (False, "FAILED")])
def test_a_job_whose_head_is_gone_ends_as_its_storage_says(head, tmp_path, capsys, monkeypatch, result, status):
    """Nobody holds the run any more: with a result it has finished, without one it has not."""
    monkeypatch.setattr(following, "AWAY_SECONDS", 1.0)
    run = tmp_path / "mine"
    run.mkdir()
    events = [
        {"kind": "start", "time": 1.0, "step": 0, "workers": 1, "num_steps": 4, "epochs": 2, "checkpoint_time": None},
        {"kind": "note", "time": 2.0, "text": "something worth a line"},
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    if result:
        (run / "result.json").write_text(json.dumps({"metrics": {"AP": 0.5}}))
    switch = threading.Timer(0.5, head.off)
    switch.start()
    job = follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())
    switch.join()
    assert job.status == status
    assert "something worth a line" in capsys.readouterr().err


def test_a_head_that_was_started_anew_has_forgotten_the_job(head, tmp_path, capsys):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "events.jsonl").write_text('{"kind": "note", "time": 2.0, "text": "something worth a line"}\n')

    def start_anew() -> None:
        head.job = None

    switch = threading.Timer(0.5, start_anew)
    switch.start()
    job = follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())
    switch.join()
    assert job.status == "FAILED", "its storage has no result"
    assert "does not know rayox-train-1 any more: its head has been started anew" in capsys.readouterr().err


def test_a_job_that_a_new_head_does_not_know_and_that_had_not_begun_is_not_waited_for(head, tmp_path, capsys):
    """Its run never comes, and no storage says how it ended."""
    head.job |= {"status": "PENDING", "job_id": None}
    switch = threading.Timer(0.5, lambda: setattr(head, "job", None))
    switch.start()
    with pytest.raises(ClusterError, match="tells nothing of this job any more") as error:
        follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())
    switch.join()
    assert "does not say how it ended" in error.value.message
    assert "its head has been started anew" in capsys.readouterr().err


def test_a_head_that_stays_away_before_the_run_begins_is_not_waited_for_for_ever(head, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.1)
    monkeypatch.setattr(job_end, "GIVE_UP_SECONDS", 0.5)
    head.off()
    with pytest.raises(ClusterError, match="does not say how it ended"):
        follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())
    assert "no Ray dashboard answers" in capsys.readouterr().err


def test_a_run_that_was_interrupted_when_its_head_went_ends_as_that(head, tmp_path, monkeypatch):
    """Not as one that has failed: 130, and what its driver has said."""
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.1)
    run = tmp_path / "mine"
    run.mkdir()
    (run / "events.jsonl").write_text('{"kind": "note", "time": 2.0, "text": "something worth a line"}\n')
    (run / "end.json").write_text(json.dumps(vars(End("interrupted", "stopped by a signal", 130, 1.0, "there"))))
    head.off()
    job = follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())
    assert (job.status, exit_code_of(job), job.message) == ("STOPPED", 130, "stopped by a signal")


def test_a_storage_that_cannot_be_read_at_the_end_is_said_to_be_the_fault(head, tmp_path, monkeypatch):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "events.jsonl").write_text("")

    def away() -> list[RunEvent]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FileEvents, "tail", lambda self, whole=False: away)
    head.job["status"] = "SUCCEEDED"
    with pytest.raises(ConfigError, match=r"storage: .*/mine cannot be read .*Input/output error"):
        follow_job(head.api, "mine", "rayox-train-1", str(tmp_path), Console())


def test_a_campaign_is_found_by_the_job_that_drives_it_whatever_it_is_called(head, tmp_path, monkeypatch, capsys):
    """`submit` calls the job by its verb and digest, and the campaign has a name of its own."""
    monkeypatch.setenv("RAYOX_SUBMISSION", "rayox-tune-1")
    ledger = Ledger(campaign_home(str(tmp_path), "mine").journal())
    ledger.tell(Opened(campaign=campaign().model_dump(mode="json") | {"name": "mine"}, config=BASE, version="0"))
    ledger.take_over()
    ledger.tell(Planned(trial=0, values={}, seed=0, run="mine-000"))
    ledger.tell(Started(trial=0, until=1))
    head.job |= {"metadata": {"rayox_verb": "tune"}, "submission_id": "rayox-tune-1"}
    switch = threading.Timer(0.5, lambda: head.job.update(status="SUCCEEDED", logs=""))
    switch.start()
    assert follow_job(head.api, "tune-1", "rayox-tune-1", str(tmp_path), Console()).status == "SUCCEEDED"
    switch.join()
    assert "trial 0" in capsys.readouterr().err


def test_a_job_that_trains_nothing_is_followed_by_its_log(head, tmp_path, capsys):
    """Its storage, which this machine sees, never has a run of its name."""
    head.job["metadata"] = {"rayox_verb": "data"}
    head.job["logs"] = "image 1 of 4\nhalf a li"
    switch = threading.Timer(0.5, lambda: head.job.update(status="SUCCEEDED", logs="image 1 of 4\nhalf a line\n"))
    switch.start()
    assert follow_job(head.api, "data-1", "rayox-data-1", str(tmp_path), Console()).status == "SUCCEEDED"
    switch.join()
    assert capsys.readouterr().err.splitlines() == ["image 1 of 4", "half a line"]


@pytest.mark.parametrize(
    ("ended", "exit_code"),
    [
        ({"status": "SUCCEEDED"}, 0),
        ({"status": "FAILED"}, 8),
        ({"status": "FAILED", "driver_exit_code": 3}, 3),
        ({"status": "STOPPED"}, 130),
    ],
)
def test_watching_a_job_ends_with_its_exit_code(rayox, head, tmp_path, ended, exit_code):
    head.job |= {"metadata": {"rayox_verb": "tune"}, "logs": "trial 1 of 4\n"}
    remember("tune-1", head.api.url, "rayox-train-1", str(tmp_path))
    switch = threading.Timer(0.5, lambda: head.job.update(ended))
    switch.start()
    said = rayox("runs", "watch", "tune-1", "--json")
    switch.join()
    assert said.exit_code == exit_code
    assert said.result["status"] == ended["status"].lower()
