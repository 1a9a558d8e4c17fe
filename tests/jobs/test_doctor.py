"""What the doctor says of a cluster that it cannot ask, and what a node says of the places that a job would use."""

import http.server
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from patience import patient
from toy_dashboard import ToyDashboard, sound, there

from rayox.doctor import _all_reduce, _auth
from rayox.submission.node_checks import MARKER, begin, check, end
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
        (
            200,
            {"ray_version": "2.40.0"},
            "has Ray 2.40.0, and this rayox works with",
            "bring its nodes to one of those",
        ),
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


def test_a_dashboard_that_has_gone_away_is_not_one_that_lets_nobody_in(serving):
    away = _auth(JobsApi("http://127.0.0.1:9", {}))
    assert (away.kind, "no Ray dashboard answers" in away.detail) == ("error", True)
    assert _auth(JobsApi(serving(500, "broken"), {})).kind == "error"


def test_data_of_this_machine_are_one_row_beside_what_the_nodes_say(rayox):
    words = [f"data.{split}.{part}=here/{part}" for split in ("train", "val") for part in ("annotations", "images")]
    with ToyDashboard() as dashboard:
        dashboard.told = ({"nodes": [there()]}, sound(disk_free_bytes=0), {"all_reduce": None})
        found = rayox("doctor", "scratch", *words, "--address", dashboard.url, "--json")
    rows = {}
    for one in found.result["checks"]:
        rows.setdefault(one["check"], []).append(one)
    (data,) = rows["data"]
    assert (data["verdict"], data["exit_code"]) == ("error", 3)
    assert "here/annotations, here/images: lies on this machine" in data["detail"]
    assert "rayox data shard" in data["fix"]
    assert rows["disks"][0]["verdict"] == "error"
    assert rows["python"][0]["verdict"] == "ok"
    assert "cluster" not in rows


def test_places_that_submit_refuses_are_wrong_here_too(rayox):
    with ToyDashboard() as dashboard:
        words = ["storage=runs", "tracking.uri=sqlite:////x/mlflow.db"]
        found = rayox("doctor", *words, "--address", dashboard.url, "--json")
    wrong = {one["check"]: one["detail"] for one in found.result["checks"] if one["verdict"] == "error"}
    assert "'runs' is a relative path" in wrong["storage"]
    assert "is a file of one machine" in wrong["tracking"]


@pytest.mark.slow
@pytest.mark.parametrize("starts", [True, False])
def test_what_has_not_answered_in_time_is_wrong_with_its_node(rayox, starts):
    """A node that is asked and says nothing, or a cluster that does not come to ask."""
    with ToyDashboard() as dashboard:
        dashboard.is_over = False
        nodes = {"nodes": [there(), there("b2", is_head=False)]}
        dashboard.told = (nodes, sound()) if starts else ()
        began = time.monotonic()
        words = ["storage=s3://runs/here", "tracking.uri=http://mlflow", "--timeout", "6"]
        found = rayox("doctor", *words, "--address", dashboard.url, "--json")
        assert time.monotonic() - began < patient(6 + 5)
    wrong = {one["check"]: one["detail"] for one in found.result["checks"] if one["verdict"] == "error"}
    assert found.exit_code == 6
    if starts:
        assert "node b2 (10.0.0.1): has not answered within" in wrong["nodes"]
        assert "it was asked: versions, storage s3://runs/here, tracking http://mlflow" in wrong["nodes"]
        assert "no sum within" in wrong["all-reduce"]
    else:
        assert "has not run a job of a second within" in wrong["cluster"]


def test_workers_that_do_not_reach_each_other_are_an_error():
    assert _all_reduce("no sum within 60 s").kind == "error"
    assert _all_reduce(0.02).kind == _all_reduce(None).kind == "ok"


@pytest.mark.parametrize(
    ("status", "said"), [(401, "wants credentials that this node has not (401)"), (500, "answers with 500"), (200, "")]
)
def test_a_node_says_how_the_tracking_server_answers_it(serving, status, said):
    assert check({"mark": "1", "tracking": serving(status, {})})["tracking"] == said


def test_a_node_says_what_its_storage_is(tmp_path):
    question = {"mark": "1", "storage": str(tmp_path / "here")}
    begin(question)
    assert check(question)["storage"] == ""
    assert check(question | {"storage": str(tmp_path / "there")})["storage"] == "is not the storage that the head has"
    assert check(question | {"storage": "/proc/rayox"})["storage"].startswith("cannot be written")


def test_two_that_ask_of_one_storage_at_once_do_not_confuse_it(tmp_path):
    """Each has a mark of its own there, which it takes away; what stays tells a follower that he sees the storage."""
    first, second = ({"mark": mark, "storage": str(tmp_path / "runs")} for mark in ("1", "2"))
    begin(first)
    begin(second)
    assert check(first)["storage"] == check(second)["storage"] == ""
    end(second)
    assert check(first)["storage"] == ""
    end(first)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [MARKER]


def test_a_node_says_which_data_it_lacks_and_how_large_they_are(tmp_path, toy_data):
    paths = [str(toy_data / "train.json"), str(toy_data / "images"), str(tmp_path / "absent.json")]
    paths += [str(toy_data / "images" / "*.png"), str(toy_data / "images" / "*.tiff")]
    found = check({"mark": "1", "paths": paths})
    assert list(found["paths"].values()) == ["", "", "is not there", "", "is not there"]
    assert list(found["sizes"].values()) == [(toy_data / "train.json").stat().st_size, 0, 0, 0, 0]


@pytest.mark.parametrize("path", ["/closed/train.json", "file:///closed/train.json"])
def test_what_lies_in_a_folder_that_is_closed_to_the_node_is_a_fault_of_the_data(monkeypatch, path):
    """Not of the node, which answers all else."""

    def closed(self: Path, **how: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", closed)
    found = check({"mark": "1", "paths": [path], "outputs": ["/closed/new"]})
    assert found["paths"] == {path: "cannot be read (Permission denied)"}
    assert found["outputs"] == {"/closed/new": "cannot be written (Permission denied)"}
    assert found["sizes"] == {path: 0}


def test_the_size_of_a_file_is_known_by_either_form_of_its_path(tmp_path):
    (tmp_path / "train.json").write_text("{}")
    path = f"file://{tmp_path}/train.json"
    assert check({"mark": "1", "paths": [path]})["sizes"] == {path: 2}


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("postgresql://host/db", 5432),
        ("mysql+pymysql://host/db", 3306),
        ("mssql://host/db", 1433),
        ("mysql://h:1/d", 1),
    ],
)
def test_a_database_is_asked_at_its_own_port(monkeypatch, address, port):
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr("socket.create_connection", lambda place, seconds: asked.append(place) or socket.socket())
    assert check({"mark": "1", "tracking": address})["tracking"] == ""
    assert asked[0][1] == port
    assert check({"mark": "1", "tracking": "mysql://host:99999/db"})["tracking"].startswith("does not answer (Port out")


def test_a_node_says_that_a_folder_is_not_that_of_the_images(tmp_path, toy_data):
    annotations, empty, others = str(toy_data / "train.json"), tmp_path / "empty", tmp_path / "others"
    empty.mkdir()
    others.mkdir()
    (others / "holiday.jpg").touch()

    def said(folder: object) -> str:
        question = {"mark": "1", "paths": [annotations, str(folder)], "images": [(annotations, str(folder))]}
        return check(question)["paths"][str(folder)]

    assert said(toy_data / "images") == ""
    assert said(empty) == "is an empty folder"
    assert said(others).startswith(f"has none of the images of {annotations}, as ")


def test_a_node_says_what_cannot_be_written(tmp_path):
    (tmp_path / "there").mkdir()
    outputs = [str(tmp_path / "new"), str(tmp_path / "there"), str(tmp_path / "absent" / "new"), "/proc/new"]
    found = check({"mark": "1", "outputs": outputs})["outputs"]
    assert found[outputs[0]] == found[outputs[1]] == ""
    assert "there is no folder" in found[outputs[2]]
    if os.geteuid():
        assert "is not ours to write to" in found[outputs[3]]
