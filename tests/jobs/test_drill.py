"""What a drill reads off a run's events: the steps a fault has cost, and how long training stood still."""

import os
import signal
import urllib.request
from collections import namedtuple
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psutil
import pytest
import requests
from mlflow_server import MlflowServer
from patience import wait_until

from rayox import drill_run
from rayox.drill_run import _next_start, restarted, weathered
from rayox_cluster.jobs_api import Job, UnreachableError
from rayox_cluster.outage_proxy import running
from rayox_cluster.strike import STRUCK, _workers, taken_away
from rayox_model.core.errors import ClusterError
from rayox_platform.runs.event_kinds import Checkpoint, Failure, Progress, Start
from rayox_platform.runs.home import FolderHome


@pytest.fixture
def home(tmp_path):
    """Killed at 104, at step 12 with a checkpoint of step 10; training again at 130, its next step at 133."""
    home = FolderHome(tmp_path)
    before = [progress(step, time=92 + step) for step in range(1, 13)]
    events = [Start(step=0, time=90), *before, Checkpoint(step=10, path="step-00000010", time=102.5)]
    events += [
        Failure(text="it was killed", time=104.2),
        Start(step=10, time=130),
        progress(11, 133),
        progress(12, 134),
    ]
    for event in events:
        home.events.tell(event)
    return home


def progress(step, time):
    rates = {"learning_rate": 0.01, "data_seconds": 0.0, "images_per_second": 20.0, "data_wait_fraction": 0.1}
    return Progress(step=step, epoch=0, loss_total=9.0, time=time, **rates)


def test_a_fault_costs_the_steps_since_the_checkpoint(home):
    before, resumed, next_step_at = _next_start(home, None, None, after=104.0)
    assert (before, resumed, next_step_at) == (12, 10, 133)
    struck = restarted("worker", "worker 7", before, resumed, next_step_at, 104.0)
    assert (struck.steps_lost, struck.seconds, struck.broken) == (2, 29.0, "")


def test_more_steps_than_between_two_checkpoints_is_not_as_promised():
    assert "8 steps are more than" in restarted("worker", "worker 7", 12, 4, 133.0, 104.0).broken


def test_an_outage_costs_no_step_where_nothing_starts_again():
    """Away from 102 to 105; between steps 12 and 13 there are 2.5 seconds."""
    times = [*range(92, 105), 106.5, 107.5]
    events = [progress(step, time) for step, time in enumerate(times)]
    struck = weathered("storage", "its folder", events, 102.0, 105.0)
    assert (struck.at_step, struck.resumed_at, struck.steps_lost, struck.seconds) == (10, 10, 0, 2.5)
    assert struck.broken == ""


def test_an_outage_that_starts_the_workers_again_is_not_as_promised(home):
    struck = weathered("storage", "its folder", home.events.read(), 103.0, 110.0)
    assert (struck.at_step, struck.resumed_at, struck.steps_lost) == (12, 10, 2)
    assert struck.broken == "the workers had to start again"


@pytest.fixture
def served():
    """The address of a server that answers every request with its path, and keeps connections open."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if self.path == "/api?a=1" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_what_is_behind_the_proxy_can_be_away_for_a_while(served, monkeypatch):
    with running(2.0) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with requests.Session() as session:
            assert session.post(f"{served}/api?a=1", data=b"one").ok, "servers take a path and no address"
            assert session.post(f"{served}/api", data=b"two" * 100_000).content == b"two" * 100_000
            proxy = the_proxy()
            os.kill(proxy.pid, signal.SIGUSR1)
            wait_until(lambda: not answers(session, served), 10)
            wait_until(lambda: answers(session, served), 30)
            assert session.post(f"{served}/api", data=b"three").content == b"three"
    assert not proxy.is_running()
    monkeypatch.undo()
    assert answers(requests.Session(), served)


def the_proxy() -> psutil.Process:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # others of this test process may be dead
            found += [child] if "outage_proxy" in " ".join(child.cmdline()) else []
    (proxy,) = found
    return proxy


def answers(session, address):
    try:
        return bool(session.post(f"{address}/api?a=1", data=b"").ok)
    except requests.exceptions.ConnectionError:
        return False


@pytest.mark.faults
def test_mlflows_own_client_meets_the_outage_of_its_server(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    server = MlflowServer(tmp_path)
    server.start()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    try:
        with running(2.0) as variables:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            client = MlflowClient(server.uri)
            run = client.create_run(client.create_experiment("drill")).info.run_id
            client.log_metric(run, "step", 1.0)
            proxy = the_proxy()
            os.kill(proxy.pid, signal.SIGUSR1)
            wait_until(lambda: not logged(client, run, "during"), 10)
            wait_until(lambda: logged(client, run, "after"), 30)
            assert len(client.get_metric_history(run, "after")) == 1
    finally:
        server.close()


def logged(client, run, name):
    from mlflow.exceptions import MlflowException

    try:
        client.log_metric(run, name, 1.0)
    except MlflowException:
        return False
    return True


@pytest.mark.slow
def test_encrypted_requests_pass_the_proxy_as_they_are(served):
    """CONNECT asks for a tunnel; what goes through it is nobody's business."""
    import http.client

    with running(2.0) as variables:
        proxy = urllib.request.urlparse(variables["https_proxy"])
        there = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
        there.set_tunnel(served.removeprefix("http://"))
        there.request("POST", "/api", body=b"sealed")
        assert there.getresponse().read() == b"sealed"
        there.close()


def test_a_folder_that_is_taken_away_refuses_everybody_and_comes_back(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "events.jsonl").write_text("{}\n")
    attempts = (
        lambda: (run / "events.jsonl").read_text(),
        lambda: (run / "checkpoints" / "step-1").mkdir(parents=True),
        lambda: (run / "new").write_text(""),
    )
    with (run / "events.jsonl").open("a") as held, suppress(KeyError), taken_away(run):
        for attempt in attempts:
            with pytest.raises(OSError, match="Not a directory"):
                attempt()
        held.write("{}\n")
        raise KeyError
    assert (run / "events.jsonl").read_text() == "{}\n{}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_dashboard_that_stays_away_ends_the_wait(monkeypatch):
    class Away:
        asked = 0

        def find(self, submission_id):
            self.asked += 1
            raise UnreachableError("no Ray dashboard answers", "")

    monkeypatch.setattr(drill_run, "AWAY_SECONDS", 0.3)
    monkeypatch.setattr(drill_run, "POLL_SECONDS", 0.1)
    api = Away()
    with pytest.raises(UnreachableError):
        drill_run._until_over(api, "a-job")
    assert api.asked > 1, "once is no reason to give up"


def job(status: str, message: str = "") -> Job:
    return Job("a-job", status, message, {}, 0.0, 0.0, "n", "", None)


class Played:
    """A dashboard that answers what is laid down, and the last of it again and again."""

    url = "http://head:8265"

    def __init__(self, *answers: Job | Exception | None, log: str = "") -> None:
        self.answers, self.log = list(answers), log

    def find(self, submission_id: str) -> Job | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def logs(self, submission_id: str) -> str:
        return self.log

    def upload(self, content: bytes) -> str:
        return "gcs://x.zip"

    def submit(self, request: object) -> None:
        pass


def test_a_job_that_a_new_head_does_not_know_or_that_never_begins_ends_the_wait(monkeypatch):
    monkeypatch.setattr(drill_run, "POLL_SECONDS", 0.01)
    with pytest.raises(ClusterError, match="does not know a-job any more"):
        drill_run._until_over(Played(job("RUNNING"), None), "a-job")
    with pytest.raises(ClusterError, match=r"a-job has not ended after 0 s: it is pending"):
        drill_run._until_over(Played(job("PENDING")), "a-job", 0.1)


def test_a_blow_that_says_nothing_is_told_with_how_it_ended():
    with pytest.raises(ClusterError, match="the node fault could not be injected: failed"):
        drill_run.strike(Played(job("FAILED")), "node", job("RUNNING"))


def test_a_dashboard_that_is_away_for_a_moment_does_not_end_a_drill(home, monkeypatch):
    """A node is killed beside it; the run goes on meanwhile."""
    monkeypatch.setattr(drill_run, "LONGEST_SECONDS", 0.3)
    api = Played(UnreachableError("no Ray dashboard answers", ""))
    with pytest.raises(ClusterError, match="has not resumed within"):
        drill_run._until(lambda: False, home, api, job("RUNNING"), 0.01)
    with pytest.raises(ClusterError, match="has not resumed within"):
        drill_run._wait_for_steps(FolderHome(home.folder / "empty"), api, job("RUNNING"))


def test_workers_of_other_runs_on_the_cluster_are_let_be(monkeypatch):
    """It may be shared: whoever else trains there has asked for no drill."""
    actor = namedtuple("Actor", "class_name job_id pid")
    theirs, ours = actor("RayTrainWorker", "02000000", 2), actor("RayTrainWorker", "01000000", 1)
    data = actor("MapWorker", "01000000", 3)
    monkeypatch.setattr("ray.util.state.list_actors", lambda **asked: [ours, data, theirs])
    assert _workers("01000000") == [ours]
    with pytest.raises(SystemExit, match="has no worker"):
        _workers("03000000")
    sent: list[str] = []
    api = Played(replace(job("SUCCEEDED"), job_id="01000000"))
    api.log = f'{STRUCK}["worker 1", 5.0]'
    api.submit = lambda request: sent.append(request.entrypoint)
    assert drill_run.strike(api, "worker", job("RUNNING")) == ("worker 1", 5.0)
    assert '"job_id": "01000000"' in sent[0]


def test_a_drill_that_breaks_off_says_what_becomes_of_its_run(rayox, monkeypatch):
    def broken(*arguments: object) -> None:
        raise ClusterError("the worker fault could not be injected", "")

    monkeypatch.setattr("rayox.drill.drill", broken)
    words = ("shapes", "storage=s3://x/y", "tracking.uri=http://mlflow", "--faults", "worker")
    said = rayox("drill", *words, "--address", "http://127.0.0.1:9")
    assert said.exit_code == 6
    assert "`rayox runs stop drill-" in said.err
