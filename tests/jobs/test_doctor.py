"""What the doctor says of a cluster that it cannot ask, and what a node says of the places that a job would use."""

import http.server
import json
import threading

import pytest

from rayox.doctor import _all_reduce, _auth
from rayox.node_checks import MARKER, begin, check
from rayox_cluster.jobs_api import JobsApi


@pytest.fixture
def serving():
    """Start a server that answers every request with a status and a body; its address."""
    servers = []

    def serve(status: int, body: object) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *words: object) -> None:
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "said", "fix"),
    [
        (401, {}, "wants a token and none was given", "RAY_AUTH_TOKEN_PATH"),
        (403, {}, "does not take this token", "RAY_AUTH_TOKEN_PATH"),
        (200, {"ray_version": "2.40.0"}, "has Ray 2.40.0, and this rayox works with", "bring its nodes to ray=="),
        (404, {}, "has refused GET /api/version (404)", "not another service"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_one_verdict(rayox, serving, monkeypatch, status, body, said, fix):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    found = rayox("doctor", "--address", serving(status, body), "--json")
    assert found.exit_code == 6
    (here, cluster) = found.result["checks"]
    assert (here["check"], here["verdict"]) == ("this machine", "ok")
    assert (cluster["check"], cluster["verdict"], cluster["exit_code"]) == ("cluster", "error", 6)
    assert said in cluster["detail"]
    assert fix in cluster["fix"]


def test_a_head_that_is_away_is_one_verdict(rayox):
    found = rayox("doctor", "--address", "http://127.0.0.1:9", "--json")
    assert found.exit_code == 6
    assert "no Ray dashboard answers at http://127.0.0.1:9" in found.result["checks"][-1]["detail"]


def test_a_cluster_that_lets_everybody_in_is_a_warning(serving):
    assert _auth(JobsApi(serving(200, []), {})).kind == "warning"
    assert _auth(JobsApi(serving(401, {}), {})).kind == "ok"


def test_workers_that_do_not_reach_each_other_are_an_error():
    assert _all_reduce("no sum within 60 s").kind == "error"
    assert _all_reduce(0.02).kind == _all_reduce(None).kind == "ok"


@pytest.mark.parametrize(
    ("status", "said"), [(401, "wants credentials that this node has not (401)"), (500, "answers with 500"), (200, "")]
)
def test_a_node_says_how_the_tracking_server_answers_it(serving, status, said):
    assert check({"mark": "1", "tracking": serving(status, {})})["tracking"] == said


def test_a_node_says_what_its_storage_is(tmp_path):
    question = {"mark": "of the head", "storage": str(tmp_path / "here")}
    begin(question)
    assert check(question)["storage"] == ""
    assert check(question | {"storage": str(tmp_path / "there")})["storage"] == "is not the storage that the head has"
    (tmp_path / "here" / MARKER).write_text("of another cluster")
    assert check(question)["storage"] == "is not the storage that the head has"
    assert check(question | {"storage": "/proc/rayox"})["storage"].startswith("cannot be written")


def test_a_node_says_which_data_it_lacks_and_how_large_they_are(tmp_path, toy_data):
    paths = [str(toy_data / "train.json"), str(toy_data / "images"), str(tmp_path / "absent.json")]
    found = check({"mark": "1", "paths": paths})
    assert list(found["paths"].values()) == ["", "", "is not there"]
    assert list(found["sizes"].values()) == [(toy_data / "train.json").stat().st_size, 0, 0]
