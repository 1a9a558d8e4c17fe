"""A dashboard that takes no jobs and knows some: a real HTTP server with the answers of Ray's, to be switched off."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODE = {"node_id": "abcdef0123456789", "node_ip": "10.0.0.7", "resources_total": {"CPU": 4.0, "memory": 2**34}}


class Dashboard:
    """Its jobs are by their submission id; a stop ends a job as `stopped_as` says."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.actors: list[dict[str, Any]] = []
        self.stopped_as: dict[str, Any] = {"status": "STOPPED"}
        self.goes_away_on_stop = False
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.silent = threading.Event()  # set: connections are taken and nothing is answered
        self._over = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.on()
        self.url = f"http://127.0.0.1:{self._port}"

    def add(self, submission_id: str, status: str = "RUNNING", verb: str = "train", **more: Any) -> None:
        job = {"submission_id": submission_id, "status": status, "metadata": {"rayox_verb": verb}}
        self.jobs[submission_id] = job | {"start_time": 1_000_000, "driver_node_id": NODE["node_id"]} | more

    def on(self) -> None:
        head = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                head.asked.append(self.path)
                head.tokens.append(self.headers.get("Authorization"))
                if head.silent.is_set():
                    head._over.wait()
                self.say(head.answer(self.path.partition("?")[0]))

            def do_POST(self) -> None:
                submission_id = self.path.split("/")[3]
                head.jobs[submission_id] |= head.stopped_as
                self.say({"stopped": True})
                if head.goes_away_on_stop:
                    threading.Thread(target=head.off).start()

            def say(self, answer: object) -> None:
                content = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Answer)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> object:
        """None of what is not there."""
        match path.strip("/").split("/"):
            case ["api", "jobs"]:
                return list(self.jobs.values())
            case ["api", "jobs", submission_id]:
                return self.jobs.get(submission_id)
            case ["api", "jobs", submission_id, "logs"]:
                return {"logs": self.jobs[submission_id].get("logs", "")}
            case ["api", "v0", "nodes"]:
                return {"data": {"result": {"result": [NODE]}}}
            case ["api", "v0", "actors"]:
                return {"data": {"result": {"result": self.actors}}}
            case ["api", "cluster_status"]:
                return {"data": {"clusterStatus": {}}}
        return None

    def off(self) -> None:
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
