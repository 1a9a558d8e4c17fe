"""A dashboard as Ray's, over HTTP: it keeps what is uploaded and submitted, and runs nothing.

Jobs that ask the nodes are answered for: one sound node, or what a test lays down.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rayox.verdicts import NEEDED
from rayox_cluster.node_probe import ANSWER
from rayox_cluster.packaging import digest
from rayox_cluster.preflight import PREFIX

GIB = 2**30
EXISTS = "Job with submission_id {} already exists. Please use a different submission_id."


def sound(node: str = "a1", **changed: object) -> dict[str, Any]:
    """What a node that is as it should be says of itself."""
    now = time.time()
    facts = {
        "host": "host",
        "python": "3.11.7",
        "packages": dict.fromkeys(NEEDED, "1.0") | {"opencv-python-headless": "4.12"},
        "rayox": {"version": "0.1.0", "digest": digest()},
        "time": now,
        "asked": now,
        "answered": now,
        "disk_free_bytes": 50 * GIB,
        "shared_memory_bytes": 8 * GIB,
        "checks": {"storage": "", "tracking": "", "paths": {}, "sizes": {}, "outputs": {}},
    }
    return {"node": node, "answer": facts | changed}


def there(node: str = "a1", is_head: bool = True) -> dict[str, Any]:
    return {"node": node, "address": "10.0.0.1", "head": is_head, "resources": {"CPU": 4}, "labels": {}}


WHOLE = ({"nodes": [there()]}, sound(), {"all_reduce": None})


class ToyDashboard:
    """Its jobs by id; `log` is what a job that asks says, `is_over` whether it has ended."""

    def __init__(self, ray_version: str = "2.60.0") -> None:
        self.ray_version = ray_version
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []  # the jobs that have asked, kept when they are deleted
        self.packages: dict[str, bytes] = {}
        self.told: tuple[dict[str, Any], ...] = WHOLE
        self.is_over = True
        self.before_submit: Callable[[str], None] = lambda name: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ToyDashboard":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, status: str, **more: Any) -> None:
        times = {"start_time": 1000, "end_time": 2000}
        self.jobs[name] = {"submission_id": name, "status": status, "metadata": {}} | times | more

    def submit(self, body: dict[str, Any]) -> tuple[int, object]:
        name = body["submission_id"]
        self.before_submit(name)
        if name in self.jobs:
            return 500, EXISTS.format(name)
        asks = name.startswith(PREFIX)
        status = "RUNNING" if not asks or not self.is_over else "SUCCEEDED"
        self.add(name, status, **{key: body[key] for key in ("metadata", "entrypoint", "runtime_env")})
        self.asked += [self.jobs[name]] if asks else []
        return 200, {"submission_id": name}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        match method, path.strip("/").split("/"):
            case "GET", ["api", "version"]:
                return 200, {"ray_version": self.ray_version}
            case "GET", ["api", "jobs"]:
                return 200, list(self.jobs.values())
            case "POST", ["api", "jobs"]:
                return self.submit(json.loads(body))
            case "POST", ["api", "jobs", _, "stop"]:
                return 200, {"stopped": True}
            case "GET", ["api", "jobs", name]:
                return (200, self.jobs[name]) if name in self.jobs else (404, "no such job")
            case "DELETE", ["api", "jobs", name]:
                return 200, {"deleted": self.jobs.pop(name, None) is not None}
            case "GET", ["api", "jobs", _, "logs"]:
                return 200, {"logs": "\n".join(ANSWER + json.dumps(one) for one in self.told)}
            case "GET", ["api", "packages", "gcs", name]:
                return (200, {}) if name in self.packages else (404, "no such package")
            case "PUT", ["api", "packages", "gcs", name]:
                self.packages[name] = body
                return 200, {}
        return 404, f"no such path: {path}"


def _handler(dashboard: ToyDashboard) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = dashboard.answer(self.command, self.path.partition("?")[0], body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *words: object) -> None:
            pass

    return Handler
