"""Who is told of a run's end: a real web server and real programs; their failures are lines, their secrets stay."""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from patience import patient

from rayox_platform.config.tree import Notify
from rayox_platform.track import notify as module
from rayox_platform.track.notify import Message, notify

MESSAGE = Message(
    run="blood",
    status="finished",
    exit_code=0,
    metrics={"AP": 0.5},
    error=None,
    checkpoint="/runs/blood/checkpoints/step-00000012",
    model="models:/blood/1",
    run_id="abc",
    host="node1",
    seconds=12.5,
)


class Hook:
    """A web server that keeps what is posted and answers with the given codes, the last one forever."""

    def __init__(self) -> None:
        self.codes = [200]
        self.bodies: list[dict[str, object]] = []
        self.types: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                hook.types.append(self.headers["Content-Type"])
                self.send_response(hook.codes[0] if len(hook.codes) == 1 else hook.codes.pop(0))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/SECRET?token=SECRET"


@pytest.fixture
def hook():
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever)
    thread.start()
    yield hook
    hook.server.shutdown()
    thread.join()
    hook.server.server_close()


def told(**settings: str) -> list[str]:
    return list(notify(Notify(**settings), MESSAGE))


def test_a_web_address_gets_the_message_as_json(hook):
    assert told(url=hook.url) == []
    assert hook.types == ["application/json"]
    assert hook.bodies == [
        {
            "run": "blood",
            "status": "finished",
            "exit_code": 0,
            "metrics": {"AP": 0.5},
            "error": None,
            "checkpoint": "/runs/blood/checkpoints/step-00000012",
            "model": "models:/blood/1",
            "run_id": "abc",
            "host": "node1",
            "seconds": 12.5,
        }
    ]


@pytest.mark.slow
def test_a_web_server_that_stumbles_is_asked_again(hook):
    hook.codes = [503, 200]
    assert told(url=hook.url) == []
    assert len(hook.bodies) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("code", "posts", "why"), [(500, 3, "HTTP 500 (3 tries)"), (403, 1, "HTTP 403")])
def test_a_web_server_that_refuses_is_one_line_without_its_secret(hook, code, posts, why):
    hook.codes = [code]
    (line,) = told(url=hook.url)
    assert len(hook.bodies) == posts
    host = f"http://127.0.0.1:{hook.server.server_port}"
    assert line == f"notify.url: {host}/*** was not told that the run finished: {why}"


@pytest.mark.slow
def test_nobody_at_the_address_is_one_line():
    with socket.socket() as taken:  # bound, never listening: nothing can answer there
        taken.bind(("127.0.0.1", 0))
        (line,) = told(url=f"http://127.0.0.1:{taken.getsockname()[1]}/SECRET")
    assert "Connection refused" in line
    assert "SECRET" not in line


def test_a_program_gets_the_message_and_its_variables(tmp_path):
    script = tmp_path / "tell it.py"
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['RAYOX_RUN'] + os.environ['RAYOX_STATUS'])"
    script.write_text(code + "; open(sys.argv[1], 'a').write(sys.stdin.read())")
    assert told(command=f"'{sys.executable}' '{script}' '{tmp_path}/it is $HOME'") == []
    text = (tmp_path / "it is $HOME").read_text()  # no shell has read the words
    assert text.startswith("bloodfinished{")
    assert json.loads(text.removeprefix("bloodfinished"))["checkpoint"] == MESSAGE.checkpoint


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("sh -c 'echo first >&2; echo no such room >&2; exit 3'", "sh failed with exit code 3: no such room"),
        ("/nowhere/tell", "cannot be run: [Errno 2] No such file or directory: '/nowhere/tell'"),
        ("true", None),
        ("sh -c 'exec 0<&-; exit 0'", None),  # reads nothing
    ],
)
def test_a_program_that_fails_is_one_line(command, line):
    assert told(command=command) == ([f"notify.command: {line}"] if line else [])


def test_a_program_that_hangs_is_ended_with_what_it_has_started(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.5)
    began = time.monotonic()
    (line,) = told(command=f"sh -c 'sleep 3000 & echo $! > {tmp_path}/pid; wait'")
    assert time.monotonic() - began < patient(10)
    assert line == "notify.command: sh was ended after 0.5 s"
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    for _ in range(100):  # its end takes a moment to be seen
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("sleep still runs")


def test_nobody_to_tell_is_nothing():
    assert told() == []
