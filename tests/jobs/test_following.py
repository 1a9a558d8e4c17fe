"""A followed job whose head goes away and may come back: what is shown, and how it ends."""

import json
import threading

import played_dashboard
import pytest

from rayox import following
from rayox.console import Console
from rayox.following import Watched, follow_job
from rayox.job_register import remember
from rayox_cluster.jobs_api import JobsApi

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


def test_a_job_that_trains_nothing_is_followed_by_its_log(head, tmp_path, capsys):
    """Its storage, which this machine sees, never has a run of its name."""
    head.job["metadata"] = {"rayox_verb": "tune"}
    head.job["logs"] = "trial 1 of 4\nhalf a li"
    switch = threading.Timer(0.5, lambda: head.job.update(status="SUCCEEDED", logs="trial 1 of 4\nhalf a line\n"))
    switch.start()
    assert follow_job(head.api, "tune-1", "rayox-tune-1", str(tmp_path), Console()).status == "SUCCEEDED"
    switch.join()
    assert capsys.readouterr().err.splitlines() == ["trial 1 of 4", "half a line"]


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
