"""`rayox runs` on submitted jobs: of every verb, before they begin, after they end, and when their cluster is gone."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
from patience import patient, wait_until
from played_dashboard import Dashboard
from tune_toys import BASE, campaign

from rayox.jobs import following, job_end, run_jobs, submitted_jobs
from rayox.jobs.job_register import Submitted, remember, submitted
from rayox_cluster.cluster_record import ClusterRecord
from rayox_platform.runs.ending import End
from rayox_platform.runs.event_kinds import Note, Progress, Start
from rayox_platform.runs.events import FileEvents
from rayox_platform.runs.run_lock import claimed
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Ended, Opened, Planned

pytestmark = pytest.mark.slow

TRAIN, TUNE, EVALUATE = "rayox-train-1", "rayox-tune-1", "rayox-evaluate-1"
INTERRUPTED = End("interrupted", "stopped by a signal", 130, 1.0, "there")
NOBODY = "http://127.0.0.1:9"  # a port on which nothing listens


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    """As short as can be; what is waited for comes first all the same."""
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(following, "STATUS_SECONDS", 0.0)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(job_end, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(job_end, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(job_end, "GIVE_UP_SECONDS", 1.0)
    monkeypatch.setattr(job_end, "STORAGE_SECONDS", 0.0)
    monkeypatch.setattr(run_jobs, "POLL_SECONDS", 0.01)


@pytest.fixture
def head():
    head = Dashboard()
    yield head
    head.off()


@pytest.fixture
def storage(tmp_path) -> Path:
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder


def begin(folder: Path, result: bool = False, end: End | None = None) -> Path:
    """A run of two workers that has trained for an hour."""
    folder.mkdir(parents=True)
    then = time.time() - 4000
    start = Start(step=0, workers=2, num_steps=40, epochs=4, checkpoint_time=None, began=then, time=then)
    rates = {"images_per_second": 20.0, "data_wait_fraction": 0.1, "data_seconds": 0.0, "learning_rate": 0.01}
    FileEvents(folder).tell(start)
    FileEvents(folder).tell(Progress(step=5, epoch=0, loss_total=9.0, loss_iou=3.0, time=then + 3600, **rates))
    if result:
        (folder / "result.json").write_text(json.dumps({"metrics": {"AP": 0.5}}))
    if end:
        (folder / "end.json").write_text(json.dumps(vars(end)))
    return folder


def search(storage: Path | None, submission_id: str, name: str = "mine", status: str = "finished") -> None:
    """A campaign of one trial, driven by a job."""
    home = campaign_home(str(storage) if storage else None, name)
    os.environ["RAYOX_SUBMISSION"] = submission_id
    try:
        ledger = Ledger(home.journal())
        ledger.tell(Opened(campaign=campaign().model_dump(mode="json") | {"name": name}, config=BASE, version="0"))
        ledger.take_over()
        ledger.tell(Planned(trial=0, values={}, seed=0, run=f"{name}-000"))
        if status != "dead":
            ledger.tell(Ended(status=status, why=""))
    finally:
        del os.environ["RAYOX_SUBMISSION"]


def test_the_list_has_submitted_jobs_wherever_their_runs_are(rayox, head, storage):
    """One line for a run that is listed and its job; others with what their cluster says."""
    begin(Path(".rayox/runs/here").absolute())
    begin(storage / "there")
    here, there = Path(".rayox/runs"), str(storage)
    head.add("rayox-train-2")
    head.add("rayox-train-3", "PENDING")
    head.add(TUNE, "RUNNING", "tune")
    remember("here", head.url, "rayox-train-2", str(here.absolute()))
    remember("there", head.url, "rayox-train-3", there)
    remember("tune-1", head.url, TUNE, there)
    remember("gone", NOBODY, "rayox-train-4", there)
    remember("lost", head.url, "rayox-train-5", there)
    said = rayox("runs", "list", "--json")
    found = {run["name"]: run for run in said.result["runs"]}
    assert {name: run["state"] for name, run in found.items()} == {
        "here": "dead",
        "there": "pending",
        "tune-1": "running",
        "gone": "cluster away",
        "lost": "unknown to its cluster",
    }
    assert len(said.result["runs"]) == 5
    assert (found["here"]["submission_id"], found["here"]["step"]) == ("rayox-train-2", 5)
    assert (found["tune-1"]["address"], found["tune-1"]["verb"]) == (head.url, "tune")
    assert found["tune-1"].keys() >= found["here"].keys()
    lines = rayox("runs", "list").out.splitlines()
    assert lines[0].split()[-2:] == ["cluster", "job"]
    assert any(line.split()[0] == "gone" and NOBODY in line for line in lines)
    assert head.asked.count("/api/jobs/") == 2, "once for each listing, however many jobs the cluster has"


def test_a_cluster_that_takes_connections_and_says_nothing_is_not_waited_for(rayox, head, storage):
    head.silent.set()
    remember("mine", head.url, TRAIN, str(storage))
    remember("other", head.url, "rayox-train-2", str(storage))
    began = time.monotonic()
    said = rayox("runs", "list", "--json")
    assert {run["state"] for run in said.result["runs"]} == {"cluster away"}
    assert time.monotonic() - began < patient(10)


def test_how_a_job_ended_is_known_after_its_cluster_is_gone(rayox, head, storage):
    head.add(EVALUATE, "FAILED", "evaluate", driver_exit_code=3, end_time=1_060_000, message="no such model")
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    assert rayox("runs", "list", "--json").result["runs"][0]["state"] == "failed"
    head.off()
    assert rayox("runs", "list", "--json").result["runs"][0]["state"] == "failed"
    assert rayox("runs", "wait", "evaluate-1").exit_code == 3
    assert "said        no such model" in rayox("runs", "show", "evaluate-1").out
    assert rayox("runs", "cost", "evaluate-1", "--json").result["seconds"] == 60.0
    remember("evaluate-1", head.url, f"{EVALUATE}-2", str(storage))
    assert rayox("runs", "list", "--json").result["runs"][0]["state"] == "cluster away", "this is another job"


def test_the_token_of_the_cluster_here_goes_to_no_other_one(rayox, head, storage, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    here, folder = Dashboard(), Path(".rayox/cluster").absolute()
    folder.mkdir(parents=True)
    (folder / "token").write_text("ours")
    ClusterRecord("mark", "127.0.0.1:1", here.url, 1, 1, str(storage), "", "", str(folder)).write()
    remember("other", head.url, TRAIN, str(storage))
    remember("mine", here.url, TRAIN, str(storage))
    rayox("runs", "list")
    here.off()
    assert (here.tokens, head.tokens) == (["Bearer ours"], ["Bearer theirs"])
    assert os.environ["RAY_AUTH_TOKEN"] == "theirs"


def test_a_job_that_waits_is_shown_with_what_it_waits_for(rayox, head, storage):
    head.add(TRAIN, "PENDING", message="waiting for resources")
    head.actors = [{"name": f"_ray_internal_job_actor_{TRAIN}", "required_resources": {"CPU": 9.0}}]
    remember("mine", head.url, TRAIN, str(storage))
    said = rayox("runs", "show", "mine")
    assert said.exit_code == 0
    assert f"job         {TRAIN} (train): pending" in said.out
    assert f"cluster     {head.url}" in said.out
    assert "waits       waiting for resources" in said.out
    assert "its driver waits for 9 CPU on a node; the largest has 4 CPU" in said.out
    found = rayox("runs", "show", "mine", "--json").result
    assert (found["name"], found["state"], found["submission_id"]) == ("mine", "pending", TRAIN)
    assert len(found["waits"]) == 3


def test_a_submitted_run_is_shown_with_its_job(rayox, head, storage):
    begin(storage / "mine")
    head.add(TRAIN)
    remember("mine", head.url, TRAIN, str(storage))
    said = rayox("runs", "show", "mine")
    assert "step        5/40" in said.out
    assert f"job         {TRAIN} (train): running" in said.out
    assert "driver      on node abcdef01 (10.0.0.7)" in said.out
    head.off()
    found = rayox("runs", "show", "mine", "--json").result
    assert (found["state"], found["job_state"], found["address"]) == ("dead", "cluster away", head.url)


def test_a_job_of_another_verb_is_shown(rayox, head, storage):
    head.add(TUNE, "RUNNING", "tune")
    remember("tune-1", head.url, TUNE, str(storage))
    said = rayox("runs", "show", "tune-1")
    assert said.exit_code == 0
    assert "state       running" in said.out
    assert "campaign" not in said.out
    search(storage, "rayox-tune-9", "another")
    search(storage, TUNE, "mine")
    said = rayox("runs", "show", "tune-1")
    assert f"campaign    mine is finished: 1 trial, 0 epochs; `rayox tune status mine storage={storage}`" in said.out
    assert rayox("tune", "status", "mine", f"storage={storage}").exit_code == 0


def test_a_campaign_of_the_cluster_here_lies_where_those_of_this_machine_do(rayox, head):
    head.add(TUNE, "RUNNING", "tune")
    remember("tune-1", head.url, TUNE, str(Path(".rayox/runs").absolute()))
    search(None, TUNE)
    assert "`rayox tune status mine`\n" in rayox("runs", "show", "tune-1").out
    assert rayox("tune", "status", "mine").exit_code == 0


def test_a_storage_that_cannot_be_read_is_said(rayox, head):
    head.add(TRAIN)
    remember("mine", head.url, TRAIN, "ftp://runs/here")
    said = rayox("runs", "show", "mine")
    assert said.exit_code == 0
    assert "storage     ftp://runs/here cannot be read from here: storage: 'ftp://runs/here' is not" in said.out


@pytest.mark.parametrize(
    ("ended", "exit_code"),
    [
        ({"status": "SUCCEEDED"}, 0),
        ({"status": "FAILED"}, 8),
        ({"status": "FAILED", "driver_exit_code": 7}, 7),
        ({"status": "FAILED", "driver_exit_code": -9}, 8),
        ({"status": "FAILED", "driver_exit_code": 137}, 8),
        ({"status": "STOPPED"}, 130),
    ],
)
def test_waiting_for_a_job_of_another_verb_ends_with_its_exit_code(rayox, head, storage, ended, exit_code):
    head.add(EVALUATE, "RUNNING", "evaluate")
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    threading.Timer(0.3, lambda: head.jobs[EVALUATE].update(ended)).start()
    said = rayox("runs", "wait", "evaluate-1", "--json")
    assert said.exit_code == exit_code
    assert said.result["state"] == ended["status"].lower()


@pytest.mark.parametrize(("spoke", "state", "exit_code"), [(500.0, "failed", 8), (1500.0, "interrupted", 130)])
def test_a_job_that_failed_before_its_run_went_on_has_failed(rayox, head, storage, spoke, state, exit_code):
    """The folder says how the job before ended; what is asked for is this one."""
    folder = begin(storage / "mine", end=INTERRUPTED)
    (folder / "events.jsonl").write_text("")
    FileEvents(folder).tell(Note(text="the last word", time=spoke))
    head.add(TRAIN, "FAILED", message="runtime_env setup failed")
    remember("mine", head.url, TRAIN, str(storage))
    said = rayox("runs", "wait", "mine", "--json")
    assert (said.exit_code, said.result["state"]) == (exit_code, state)
    (line,) = rayox("runs", "list", "--json", f"storage={storage}").result["runs"]
    assert line["state"] == state
    assert rayox("runs", "watch", "mine").exit_code == exit_code


def test_a_stopped_run_whose_claim_outlives_its_driver_does_not_run(rayox, head, storage):
    folder = begin(storage / "mine")
    head.add(TRAIN)
    remember("mine", head.url, TRAIN, str(storage))
    with claimed(folder):
        said = rayox("runs", "stop", "mine", "--json")
    assert (said.exit_code, said.result["state"]) == (0, "dead")


def test_a_run_that_somebody_trains_and_its_cluster_does_not_know_is_not_said_to_be_stopped(rayox, head, storage):
    folder = begin(storage / "mine")
    remember("mine", head.url, TRAIN, str(storage))
    with claimed(folder):
        said = rayox("runs", "stop", "mine")
    assert said.exit_code == 6
    assert f"process {os.getpid()} on " in said.err
    assert rayox("runs", "stop", "mine").exit_code == 0


def test_a_campaign_that_somebody_drives_and_its_cluster_does_not_know_is_not_said_to_be_stopped(rayox, head, storage):
    search(storage, TUNE, status="dead")
    remember("tune-1", head.url, TUNE, str(storage))
    with claimed(storage / "campaigns" / "mine", kept="ledger.jsonl"):
        assert rayox("runs", "stop", "tune-1").exit_code == 6
    assert rayox("runs", "stop", "tune-1").exit_code == 0


def test_a_stop_of_a_job_that_has_not_begun_promises_no_checkpoint(rayox, head, storage, monkeypatch):
    monkeypatch.setattr(run_jobs, "START_SECONDS", 0.3)
    monkeypatch.setattr(run_jobs, "STOP_SECONDS", 0.0)
    head.add(TRAIN, "PENDING")
    head.stopped_as = {}
    remember("mine", head.url, TRAIN, str(storage))
    said = rayox("runs", "stop", "mine")
    assert said.exit_code == 6
    assert "it has not begun, and ends once its driver has a place" in said.err
    assert "checkpoint" not in said.err
    assert "mine has not ended after 0.3 s" in said.err


def test_clusters_are_asked_once_all_their_tokens_are_known(monkeypatch):
    """For each token this process's environment is taken away for a moment, in which no request may read it."""
    known: list[str] = []
    monkeypatch.setattr(submitted_jobs, "api_of", lambda address, seconds: known.append(address) or address)
    seen: list[int] = []
    monkeypatch.setattr(submitted_jobs, "_ask", lambda api, address, answers: seen.append(len(known)))
    submitted_jobs.look([Submitted(f"run-{number}", f"http://{number}", "x", "s3://x/y") for number in range(20)])
    assert seen == [20] * 20


def test_waiting_no_longer_than_was_asked_for(rayox, head, storage):
    head.add(TUNE, "RUNNING", "tune")
    remember("tune-1", head.url, TUNE, str(storage))
    said = rayox("runs", "wait", "tune-1", "--timeout", "0.1")
    assert said.exit_code == 6
    assert "tune-1 has not ended after 0.1 s" in said.err


@pytest.mark.parametrize(
    ("run", "state", "exit_code"),
    [({"result": True}, "finished", 0), ({"end": INTERRUPTED}, "interrupted", 130), ({}, "dead", 8)],
)
def test_waiting_for_a_run_whose_head_is_gone_ends_as_its_storage_says(rayox, head, storage, run, state, exit_code):
    begin(storage / "mine", **run)
    head.add(TRAIN)
    remember("mine", head.url, TRAIN, str(storage))
    head.off()
    said = rayox("runs", "wait", "mine", "--json")
    assert (said.exit_code, said.result["state"]) == (exit_code, state)
    assert f"mine is {state}, as {storage} says" in said.err


def test_a_run_that_somebody_still_trains_is_waited_for_without_its_head(rayox, head, storage):
    path = begin(storage / "mine")
    remember("mine", NOBODY, TRAIN, str(storage))
    with claimed(path):
        assert "has not ended" in rayox("runs", "wait", "mine", "--timeout", "2").err
    assert rayox("runs", "wait", "mine").exit_code == 8


@pytest.mark.parametrize(("status", "exit_code"), [("finished", 0), ("interrupted", 130), ("failed", 8), ("dead", 8)])
def test_waiting_for_a_campaign_whose_head_is_gone_ends_as_its_ledger_says(rayox, storage, status, exit_code):
    search(storage, TUNE, status=status)
    remember("tune-1", NOBODY, TUNE, str(storage))
    said = rayox("runs", "wait", "tune-1", "--json")
    assert (said.exit_code, said.result["state"]) == (exit_code, status)


@pytest.mark.parametrize("verb", ["wait", "watch"])
def test_what_nobody_knows_is_said_in_the_end(rayox, storage, verb):
    remember("evaluate-1", NOBODY, EVALUATE, str(storage))
    said = rayox("runs", verb, "evaluate-1")
    assert said.exit_code == 6
    assert "does not say how it ended" in said.err


def test_a_job_that_its_cluster_has_forgotten_is_not_waited_for(rayox, head, storage, monkeypatch):
    monkeypatch.setattr(job_end, "GIVE_UP_SECONDS", 3600.0)
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    said = rayox("runs", "wait", "evaluate-1")
    assert said.exit_code == 6
    assert "does not know this job any more" in said.err


def test_a_stopped_campaign_says_where_it_stands(rayox, head, storage):
    head.add(TUNE, "RUNNING", "tune")
    remember("tune-1", head.url, TUNE, str(storage))
    search(storage, TUNE, status="interrupted")
    said = rayox("runs", "stop", "tune-1")
    assert said.exit_code == 0
    assert f"tune-1: job {TUNE} is over: stopped" in said.out
    assert f"`rayox tune status mine storage={storage}` shows it" in said.out
    again = rayox("runs", "stop", "tune-1", "--json")
    assert (again.exit_code, again.result["campaign_state"]) == (0, "interrupted")
    assert "is over already" in again.err


def test_a_stop_ends_by_the_storage_when_the_head_goes_meanwhile(rayox, head, storage):
    begin(storage / "mine", end=INTERRUPTED)
    head.add(TRAIN)
    head.stopped_as, head.goes_away_on_stop = {}, True
    remember("mine", head.url, TRAIN, str(storage))
    said = rayox("runs", "stop", "mine", "--json")
    assert (said.exit_code, said.result["state"]) == (0, "interrupted")
    assert f"mine is interrupted, as {storage} says" in said.err


def test_the_cost_of_a_campaign_is_that_of_its_trials(rayox, head, storage):
    search(storage, TUNE)
    remember("tune-1", NOBODY, TUNE, str(storage))
    missing = rayox("runs", "cost", "tune-1", "--json").result
    assert (missing["worker_hours"], missing["runs_missing"]) == (0.0, 1)
    begin(storage / "mine-000")
    found = rayox("runs", "cost", "tune-1", "--per-hour", "3", "--json").result
    assert (found["worker_hours"], found["cost"], found["campaign"]) == (2.0, 6.0, "mine")


def test_the_cost_of_a_job_is_its_time(rayox, head, storage):
    head.add(EVALUATE, "SUCCEEDED", "evaluate", end_time=1_120_000)
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    assert "evaluate-1: its job took 2:00" in rayox("runs", "cost", "evaluate-1").out
    remember("evaluate-2", NOBODY, "rayox-evaluate-2", str(storage))
    said = rayox("runs", "cost", "evaluate-2", "--per-hour", "3")
    assert (said.exit_code, said.out) == (0, "evaluate-2: how long it took is not known (cluster away)\n")


def test_a_watched_job_that_is_over_says_how(rayox, head, storage):
    head.add(TUNE, "FAILED", "tune", driver_exit_code=3)
    remember("tune-1", head.url, TUNE, str(storage))
    said = rayox("runs", "watch", "tune-1", "--json")
    assert (said.exit_code, said.result["status"]) == (3, "failed")


def test_the_log_of_a_job_whose_cluster_is_gone_is_refused_at_once(rayox, storage):
    remember("tune-1", NOBODY, TUNE, str(storage))
    for more in ((), ("--follow",)):
        assert rayox("runs", "logs", "tune-1", *more).exit_code == 6


def off_once_followed(head: Dashboard) -> None:
    """Switch it off when its log has been asked for twice: to see that it answers, and to follow it."""
    wait_until(lambda: sum(path.endswith("/logs") for path in head.asked) > 1, 60)
    head.off()


def test_a_log_is_followed_no_longer_than_somebody_can_say_more(rayox, head, storage):
    head.add(EVALUATE, "RUNNING", "evaluate", logs="image 1\n")
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    threading.Thread(target=off_once_followed, args=(head,)).start()
    said = rayox("runs", "logs", "evaluate-1", "--follow")
    assert said.exit_code == 6
    assert said.out == "image 1\n"
    assert "no Ray dashboard answers" in said.err
    assert "does not say how it ended" in said.err


def test_a_followed_log_ends_when_the_storage_says_that_it_is_over(rayox, head, storage):
    head.add(TUNE, "RUNNING", "tune", logs="trial 1\n")
    remember("tune-1", head.url, TUNE, str(storage))
    search(storage, TUNE)
    threading.Thread(target=off_once_followed, args=(head,)).start()
    said = rayox("runs", "logs", "tune-1", "--follow", "--json")
    assert (said.exit_code, said.result) == (0, {"run": "tune-1", "submission_id": TUNE})
    assert f"tune-1 is finished, as {storage} says" in said.err


def test_the_log_of_a_job_that_its_cluster_has_forgotten_is_said_to_be_gone(rayox, head, storage):
    remember("evaluate-1", head.url, EVALUATE, str(storage))
    said = rayox("runs", "logs", "evaluate-1")
    assert said.exit_code == 6
    assert "does not know this job any more, and its log went with it" in said.err
    assert "`rayox runs show evaluate-1`" in said.err


def test_events_are_followed_into_the_job_that_goes_on_with_a_run(rayox, head, storage):
    """Its folder is there from the job before, and nobody holds it yet."""
    path = begin(storage / "mine")
    head.add(TRAIN, "PENDING")
    remember("mine", head.url, TRAIN, str(storage))

    def go_on() -> None:
        FileEvents(path).tell(Note(text="goes on"))
        head.jobs[TRAIN]["status"] = "SUCCEEDED"

    threading.Timer(1.0, go_on).start()
    assert "goes on" in rayox("runs", "logs", "mine", "--follow").out


def test_another_storage_that_is_named_goes_before_the_job(rayox, head, storage, tmp_path):
    head.add(TRAIN)
    remember("mine", head.url, TRAIN, str(storage))
    begin(tmp_path / "other" / "mine", result=True)
    assert rayox("runs", "show", "mine", f"storage={tmp_path / 'other'}", "--json").result["state"] == "finished"
    assert [job.storage for job in submitted("mine")] == [str(storage)]


def test_two_runs_of_one_name_in_two_storages_are_two(rayox, head, storage, tmp_path):
    """Each is found by its storage; without it the one that was submitted last is meant, which is said."""
    other = str(tmp_path / "other")
    head.add(TRAIN)
    head.add("rayox-train-2", "SUCCEEDED")
    remember("mine", head.url, TRAIN, str(storage))
    remember("mine", head.url, "rayox-train-2", other)
    begin(storage / "mine")
    begin(tmp_path / "other" / "mine", result=True)
    states = {run["submission_id"]: run["job_state"] for run in rayox("runs", "list", "--json").result["runs"]}
    assert states == {TRAIN: "running", "rayox-train-2": "succeeded"}
    first, last = rayox("runs", "show", "mine", f"storage={storage}", "--json"), rayox("runs", "show", "mine", "--json")
    assert (first.result["submission_id"], last.result["submission_id"]) == (TRAIN, "rayox-train-2")
    assert first.err.count("storage=") == 0
    assert f"mine in {other} is meant; there is one in {storage} too: storage={storage} names it" in last.err
    assert rayox("runs", "stop", "mine", f"storage={storage}").exit_code == 0
    assert head.jobs[TRAIN]["status"] == "STOPPED"
    assert rayox("runs", "wait", "mine", f"storage={other}").exit_code == 0


def test_a_job_that_was_noted_by_its_name_alone_is_still_known(rayox, head, storage):
    """As it was noted before; a later one of the same place takes its place."""
    head.add(TRAIN)
    folder = Path(".rayox/jobs")
    folder.mkdir(parents=True)
    job = {"run": "mine", "address": head.url, "submission_id": TRAIN, "storage": str(storage), "noted": 1.0}
    (folder / "mine.json").write_text(json.dumps(job))
    assert [one.submission_id for one in submitted("mine")] == [TRAIN]
    remember("mine", head.url, "rayox-train-2", str(storage))
    assert [one.submission_id for one in submitted("mine")] == ["rayox-train-2"]
