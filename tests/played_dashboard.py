"""A dashboard as Ray's, over HTTP: it keeps what is uploaded and submitted, runs nothing, and can be switched off."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

NODE = {"node_id": "abcdef0123456789", "node_ip": "10.0.0.7", "resources_total": {"CPU": 4.0, "memory": 2**34}}
EXISTS = "Job with submission_id {} already exists. Please use a different submission_id."
NOT_FOUND = (404, None)


class Dashboard:
    """Its jobs are by their submission id; a stop ends a job as `stopped_as` says."""

    def __init__(self, ray_version: str = "2.60.0") -> None:
        self.ray_version = ray_version
        self.jobs: dict[str, dict[str, Any]] = {}
        self.actors: list[dict[str, Any]] = []
        self.packages: dict[str, bytes] = {}
        self.before_submit: Callable[[str], None] = lambda submission_id: None
        self.stopped_as: dict[str, Any] = {"status": "STOPPED"}
        self.goes_away_on_stop = False
        self.asked: list[str] = []  # paths
        self.tokens: list[str | None] = []
        self.silent = threading.Event()  # set: connections are taken and nothing is answered
        self._over = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.on()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.off()

    def on(self) -> None:
        """At the port it had before, if it was off."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def off(self) -> None:
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def add(self, submission_id: str, status: str = "RUNNING", verb: str = "train", **more: Any) -> None:
        job = {"submission_id": submission_id, "status": status, "metadata": {"rayox_verb": verb}}
        self.jobs[submission_id] = job | {"start_time": 1_000_000, "driver_node_id": NODE["node_id"]} | more

    def submit(self, submission_id: str, job: dict[str, Any]) -> None:
        self.add(submission_id, **job)

    def stop(self, submission_id: str) -> None:
        self.jobs[submission_id] |= self.stopped_as
        if self.goes_away_on_stop:
            threading.Thread(target=self.off).start()

    def logs(self, submission_id: str) -> str:
        return str(self.jobs[submission_id].get("logs", ""))

    def asked_for(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, object]:
        if method == "GET":
            self.asked.append(path)
            self.tokens.append(token)
        if self.silent.is_set():
            self._over.wait()
        return self.answer(method, path.partition("?")[0], body)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Status and JSON."""
        match path.strip("/").split("/"):
            case ["api", "jobs", submission_id, *more]:
                return self._of_job(method, submission_id, more)
            case ["api", "jobs"] if method == "POST":
                return self._submitted(json.loads(body))
            case ["api", "packages", "gcs", name]:
                return self._of_package(method, name, body)
            case words:
                found = self._told(words)
                return NOT_FOUND if found is None else (200, found)

    def _of_job(self, method: str, submission_id: str, more: list[str]) -> tuple[int, object]:
        if submission_id not in self.jobs:
            return NOT_FOUND
        match method, more:
            case "GET", []:
                return 200, self.jobs[submission_id]
            case "GET", ["logs"]:
                return 200, {"logs": self.logs(submission_id)}
            case "POST", ["stop"]:
                self.stop(submission_id)
                return 200, {"stopped": True}
            case "DELETE", []:
                return 200, {"deleted": bool(self.jobs.pop(submission_id))}
        return NOT_FOUND

    def _submitted(self, body: dict[str, Any]) -> tuple[int, object]:
        submission_id = body["submission_id"]
        self.before_submit(submission_id)
        if submission_id in self.jobs:
            return 500, EXISTS.format(submission_id)
        self.submit(submission_id, {key: body[key] for key in ("metadata", "entrypoint", "runtime_env")})
        return 200, {"submission_id": submission_id}

    def _of_package(self, method: str, name: str, body: bytes) -> tuple[int, object]:
        if method == "PUT":
            self.packages[name] = body
        return (200, {}) if name in self.packages else NOT_FOUND

    def _told(self, path: list[str]) -> object:
        match path:
            case ["api", "version"]:
                return {"ray_version": self.ray_version}
            case ["api", "jobs"]:
                return list(self.jobs.values())
            case ["api", "v0", "nodes"]:
                return {"data": {"result": {"result": [NODE]}}}
            case ["api", "v0", "actors"]:
                return {"data": {"result": {"result": self.actors}}}
            case ["api", "cluster_status"]:
                return {"data": {"clusterStatus": {}}}
        return None


def _handler(dashboard: Dashboard) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = dashboard.asked_for(self.command, self.path, self.headers.get("Authorization"), body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *words: object) -> None:
            pass

    return Handler
