"""Submitting against a dashboard that keeps what it is given: what is found, what is sent anew, what is told."""

import io
import json
import zipfile

import pytest
import yaml
from toy_dashboard import ToyDashboard, sound, there
from tune_toys import BASE, campaign

from rayox.submission.resolved import resolve
from rayox.submission.waiting import _wanted
from rayox_cluster.jobs_api import JobsApi, Node, Waiting
from rayox_cluster.preflight import PREFIX
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Ended, Opened

PLACES = ("storage=s3://runs/here", "tracking.uri=http://mlflow:5000")
TRAIN = ("train", "shapes", "--name", "mine", *PLACES)
TUNE = ("tune", "simota", *PLACES)
STATS = ("data", "stats", "/shared/a.json")
SEEN = ("models", "list", *PLACES)


@pytest.fixture
def dashboard(monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAYOX_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    with ToyDashboard() as toy:
        yield toy


@pytest.fixture
def submit(rayox, dashboard):
    def run(words, *options):
        return rayox("submit", "--json", "--address", dashboard.url, *options, "--", *words)

    return run


def job_files(dashboard: ToyDashboard, name: str) -> dict[str, bytes]:
    uri = dashboard.jobs[name]["runtime_env"]["working_dir"]
    with zipfile.ZipFile(io.BytesIO(dashboard.packages[uri.removeprefix("gcs://")])) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def end(dashboard: ToyDashboard, name: str, status: str) -> None:
    dashboard.jobs[name] |= {"status": status}


def first_id(words) -> str:
    return resolve(words, None).submission_id


@pytest.mark.parametrize("words", [TRAIN, TUNE, SEEN])
def test_a_job_that_runs_is_found(submit, dashboard, words):
    first, again = submit(words), submit(words)
    assert first.exit_code == 0, first.err
    assert list(dashboard.jobs) == [first_id(words)]
    assert "nothing was submitted" in again.err
    assert again.result["submission_id"] == first.result["submission_id"]


@pytest.mark.parametrize("words", [TRAIN, TUNE])
def test_what_has_finished_and_lasts_is_found(submit, dashboard, words):
    first = submit(words)
    end(dashboard, first.result["submission_id"], "SUCCEEDED")
    again = submit(words)
    assert "has finished" in again.err
    assert "--again starts it anew" in again.err
    assert len(dashboard.jobs) == 1


def test_a_verb_that_looks_at_what_changes_is_run_again(submit, dashboard):
    """What models there are, what a file has, where a champion stands: yesterday's answer is none."""
    for status in ("SUCCEEDED", "FAILED"):
        end(dashboard, submit(SEEN).result["submission_id"], status)
    third = submit(SEEN)
    assert "nothing was submitted" not in third.err
    assert "going on" not in third.err
    assert list(dashboard.jobs) == [first_id(SEEN), f"{first_id(SEEN)}-2", f"{first_id(SEEN)}-3"]
    del dashboard.jobs[first_id(SEEN)]  # somebody has tidied up
    end(dashboard, third.result["submission_id"], "SUCCEEDED")
    assert submit(SEEN).result["submission_id"] == f"{first_id(SEEN)}-4"


def test_a_training_that_has_finished_is_begun_anew_when_asked_to(submit, dashboard):
    end(dashboard, submit(TRAIN).result["submission_id"], "SUCCEEDED")
    anew = submit(TRAIN, "--again")
    name = f"{first_id(TRAIN)}-2"
    assert (anew.result["run"], anew.result["submission_id"]) == ("mine-2", name)
    assert "starting anew as mine-2" in anew.err
    files = job_files(dashboard, name)
    assert json.loads(files["job.json"])["run"] == yaml.safe_load(files["recipe.yaml"])["name"] == "mine-2"
    end(dashboard, name, "FAILED")
    resumed = submit(TRAIN)
    assert "going on with it" in resumed.err
    assert resumed.result["run"] == "mine-2", "that is the one which failed"


def test_a_campaign_that_has_finished_is_begun_anew_when_asked_to(submit, dashboard):
    end(dashboard, submit(TUNE).result["submission_id"], "SUCCEEDED")
    name = submit(TUNE, "--again").result["submission_id"]
    task = json.loads(job_files(dashboard, name)["job.json"])
    assert (task["arguments"][-2:], task["goes_on"]) == (["--name", "simota-2"], False)
    end(dashboard, name, "STOPPED")
    task = json.loads(job_files(dashboard, submit(TUNE).result["submission_id"])["job.json"])
    assert (task["arguments"][-2:], task["goes_on"]) == (["--name", "simota-2"], True)


def test_what_a_new_head_knows_nothing_of_is_begun_anew_beside_what_its_storage_has(submit, dashboard, tmp_path):
    """A finished run, whose job went with the head before; the first that is not finished is gone on with."""
    places = (f"storage={tmp_path / 'runs'}", PLACES[1])
    for name, result in (("mine", '{"metrics": {}, "run_id": "a"}'), ("mine-2", '{"run_id": "b"}'), ("mine-3", "")):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "events.jsonl").write_text('{"kind": "note", "time": 2.0, "text": "a line"}\n')
        (run / "result.json").write_text(result)
    words = ("train", "shapes", "--name", "mine", *places)
    anew = submit(words, "--again")
    assert anew.result["run"] == "mine-3"
    assert json.loads(job_files(dashboard, anew.result["submission_id"])["job.json"])["run"] == "mine-3"
    end(dashboard, anew.result["submission_id"], "FAILED")
    assert submit(words).result["run"] == "mine-3"


def test_a_campaign_is_begun_anew_beside_what_its_storage_has(submit, dashboard, tmp_path):
    ledger = Ledger(campaign_home(str(tmp_path / "runs"), "simota").journal())
    ledger.tell(Opened(campaign=campaign().model_dump(mode="json") | {"name": "simota"}, config=BASE, version="0"))
    ledger.tell(Ended(status="finished", why=""))
    words = ("tune", "simota", f"storage={tmp_path / 'runs'}", PLACES[1])
    task = json.loads(job_files(dashboard, submit(words, "--again").result["submission_id"])["job.json"])
    assert (task["arguments"][-2:], task["campaign"]) == (["--name", "simota-2"], "simota-2")


def test_somebody_who_was_quicker_by_a_moment_is_found(submit, dashboard):
    def quicker(name: str) -> None:
        if name == first_id(TRAIN):
            dashboard.add(name, "RUNNING", metadata={"rayox_run": "mine"})

    dashboard.before_submit = quicker
    said = submit(TRAIN)
    assert said.exit_code == 0, said.err
    assert "found: rayox-train-" in said.err
    assert "another service" not in said.err
    assert said.result["status"] == "running"


def test_a_name_that_leads_out_of_the_runs_is_refused_before_anything_is_asked(submit, dashboard, tmp_path):
    said = submit(("train", "shapes", "--name", "../../x", *PLACES))
    assert said.exit_code == 2
    assert "name: '../../x' cannot be a name" in said.err
    assert not dashboard.packages
    assert not list(tmp_path.rglob("x.json"))


def test_what_was_sent_is_told_each_time(submit, dashboard, monkeypatch):
    """What asks the nodes has rayox in it, and is sent once; the job brings rayox where a node has another one."""
    monkeypatch.setenv("RAYOX_STORAGE", "s3://runs/here")  # of a verb that takes no settings
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    first = submit(STATS).err
    assert "kB sent for that); sent: settings " in first
    assert "no rayox: all have it" in first
    size = next(len(content) for content in dashboard.packages.values() if len(content) > 100_000)
    assert f"({size / 1000:.1f} kB sent for that)" in first
    end(dashboard, first_id(STATS), "SUCCEEDED")
    dashboard.told = ({"nodes": [there()]}, sound(rayox={"version": "", "digest": ""}), {"all_reduce": None})
    second = submit(STATS).err
    assert "(nothing sent for that); sent: settings " in second
    assert ", rayox " in second


def test_nothing_of_a_job_names_a_version_of_ray(submit, dashboard):
    """The nodes' Ray runs it, whichever of the range that is."""
    dashboard.ray_version = "2.55.1"
    dashboard.told = ({"nodes": [there()]}, sound(rayox={"version": "", "digest": ""}), {"all_reduce": None})
    job = dashboard.jobs[submit(TRAIN).result["submission_id"]]
    assert set(job["runtime_env"]) == {"working_dir", "env_vars", "py_modules"}
    (wheel,) = job["runtime_env"]["py_modules"]
    assert wheel.endswith(".zip"), "unpacked as it is: as a wheel, Ray would have pip bring all it needs"


def test_a_job_that_was_handed_over_is_waited_for_while_its_head_is_away(submit, dashboard, monkeypatch):
    """For the half minute that a job has to start; what is to be done then is said."""
    monkeypatch.setattr("rayox.submit.POLL_SECONDS", 0.01)
    asked: list[str] = []
    name = first_id(TRAIN)

    def answer(method: str, path: str, body: bytes) -> tuple[int, object]:
        if method == "GET" and path.endswith(name):
            asked.append(path)
            if len(asked) < 4 or dashboard.is_gone:
                return (404, "no such job") if dashboard.forgets else (503, "no head")
        return ToyDashboard.answer(dashboard, method, path, body)

    dashboard.answer, dashboard.is_gone, dashboard.forgets = answer, False, False
    assert submit(TRAIN).result["status"] == "running"
    assert len(asked) == 4
    monkeypatch.setattr("rayox_cluster.preflight.START_SECONDS", 0.1)
    for forgets, said in ((False, "cannot tell now (503)"), (True, "does not know it any more")):
        dashboard.jobs.clear()
        dashboard.is_gone, dashboard.forgets = True, forgets
        lost = submit(TRAIN)
        assert lost.exit_code == 6
        assert f"{name} was handed over, but " in lost.err
        assert said in lost.err


@pytest.mark.parametrize("stays", [False, True])
def test_a_request_that_fails_while_the_nodes_are_asked_is_made_again(submit, dashboard, monkeypatch, stays):
    asked: list[str] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, object]:
        if method == "GET" and path.rpartition("/")[2].startswith(PREFIX):
            asked.append(path)
            if stays or len(asked) < 3:
                return 503, "no head"
        return ToyDashboard.answer(dashboard, method, path, body)

    dashboard.answer = answer
    monkeypatch.setattr("rayox_cluster.preflight.POLL_SECONDS", 0.01)
    monkeypatch.setattr("rayox_cluster.preflight.AWAY_SECONDS", 0.1 if stays else 60.0)
    assert submit(TRAIN).exit_code == (6 if stays else 0)
    assert len(asked) > 1


def test_ctrl_c_while_a_job_starts_says_that_it_was_handed_over(submit, dashboard, monkeypatch):
    def pressed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rayox.submit.wait_for_start", pressed)
    left = submit(TRAIN)
    assert left.exit_code == 130
    assert f"{first_id(TRAIN)} was handed over and goes on. `rayox runs watch mine` comes back" in left.err
    assert "was handed over" not in submit(TRAIN).err, "it is found"


def test_what_a_cluster_says_of_a_job_is_told_without_the_credentials_in_it(submit, dashboard):
    """Ray puts the end of a failed job's log there."""
    dashboard.add("rayox-train-9", "FAILED", message="cannot open http://bob:hunter2@mlflow:5000")
    (job,) = JobsApi(dashboard.url, {}).jobs()
    assert "hunter2" not in job.message
    assert "mlflow:5000" in job.message


def test_a_driver_that_waits_on_a_cluster_without_a_node_is_not_told_of_labels():
    assert _wanted(Waiting({"CPU": 1.0}, {}), []) == "its driver waits for 1 CPU on a node; the cluster has no node now"
    node = Node("a1", "10.0.0.1", {"CPU": 4.0}, {}, {})
    assert "no node has such labels" in _wanted(Waiting({"CPU": 1.0}, {"team": "x"}), [node])
