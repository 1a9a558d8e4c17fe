"""Ray's Jobs API over HTTP: any version of Ray that has it, and no Ray on this side.

The same paths and bodies as Ray's own client, with time-outs and with messages that say what to do.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import requests

from rayox_cluster.access import auth_headers, is_beyond_loopback
from rayox_model.core.errors import ClusterError
from rayox_model.core.secrets import without_secrets

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
STATE_SECONDS, LOG_SECONDS = 10.0, 20.0  # for what is asked of one job again and again
LEAST_SECONDS = 1.0  # for an answer, also beyond a deadline: what is there by then is told
MOST_SAID = 300  # characters of an answer that is not a good one
MOST_TOLD = 10_000  # nodes or actors; Ray gives no more at once

Status = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
OVER = ("STOPPED", "SUCCEEDED", "FAILED")
VERSION = "/api/version"
MISSHAPEN = (KeyError, TypeError, AttributeError)  # JSON of something else
NO_DASHBOARD = "this needs Ray's dashboard of the cluster, not another service"


@dataclass(frozen=True)
class Job:
    """A submitted job as the cluster tells of it."""

    submission_id: str
    status: Status
    message: str
    metadata: Mapping[str, str]
    start_time: float  # seconds since 1970; 0 before it starts
    end_time: float  # 0 while it runs
    node_id: str  # of its driver; empty before it starts
    job_id: str  # Ray's own, empty until the driver has connected
    exit_code: int | None  # of its driver, once that has ended by itself

    @property
    def is_over(self) -> bool:
        return self.status in OVER


@dataclass(frozen=True)
class JobRequest:
    """What is to run, and what it reserves of the cluster for its driver."""

    submission_id: str
    entrypoint: str
    runtime_env: Mapping[str, Any]
    metadata: Mapping[str, str]
    num_cpus: float = 0.0
    label_selector: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Node:
    """A node that is alive, as the cluster tells of it."""

    node_id: str
    address: str
    total: Mapping[str, float]  # CPU, GPU, memory (bytes) …
    used: Mapping[str, float]  # of these, what somebody has reserved
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Waiting:
    """What a job's driver asks for while it waits for a node."""

    resources: Mapping[str, float]
    labels: Mapping[str, str]


class UnreachableError(ClusterError):
    """Nothing answers, or what does has lost its cluster; it may be back in a moment."""


class NotLetInError(ClusterError):
    """It wants a token, or does not take the one it was given."""


class JobsApi:
    """A dashboard that takes jobs. Raises ClusterError of what it refuses, UnreachableError while it is away.

    From the deadline on (of time.monotonic()) it waits for no answer longer than a moment.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, deadline: float | None = None) -> None:
        self.url = url.rstrip("/")
        self.sent_bytes = 0  # of what was uploaded and was not there
        self._headers = auth_headers() if headers is None else headers
        self._deadline = deadline

    def ray_version(self) -> str:
        try:
            return str(self._json("GET", VERSION)["ray_version"])
        except (KeyError, TypeError) as error:
            raise ClusterError(f"what answers at {self.url} does not tell its version of Ray", NO_DASHBOARD) from error

    def jobs(self) -> list[Job]:
        """All jobs that were submitted, whoever did it."""
        found = self._json("GET", "/api/jobs/")
        try:
            return [_job(one) for one in found if one.get("submission_id")]
        except MISSHAPEN as error:
            raise self._not_ray() from error

    def find(self, submission_id: str) -> Job | None:
        answer = self._ask("GET", f"/api/jobs/{quote(submission_id)}", STATE_SECONDS)
        if answer.status_code == 404:
            return None
        try:
            return _job(self._decoded(answer))
        except MISSHAPEN as error:
            raise self._not_ray() from error

    def submit(self, job: JobRequest) -> None:
        body: dict[str, Any] = {
            "entrypoint": job.entrypoint,
            "submission_id": job.submission_id,
            "runtime_env": job.runtime_env,
            "metadata": job.metadata,
        }
        if job.num_cpus:
            body["entrypoint_num_cpus"] = job.num_cpus
        if job.label_selector:
            body["entrypoint_label_selector"] = job.label_selector
        self._json("POST", "/api/jobs/", json=body)

    def nodes(self) -> list[Node]:
        """Those that are alive; of a Ray that does not tell what is reserved, nothing is."""
        report = self._json("GET", "/api/cluster_status")["data"]["clusterStatus"].get("loadMetricsReport") or {}
        used = report.get("usageByNode") or {}
        return [
            Node(
                one["node_id"],
                one["node_ip"],
                one["resources_total"],
                {name: amount[0] for name, amount in used.get(one["node_id"], {}).items()},
                one.get("labels") or {},
            )
            for one in self._state("nodes", "ALIVE")
        ]

    def waiting_driver(self, submission_id: str) -> Waiting | None:
        """None when it does not wait for a node."""
        for actor in self._state("actors", "PENDING_CREATION"):
            if (actor.get("name") or "").endswith(f"_{submission_id}"):
                return Waiting(actor.get("required_resources") or {}, actor.get("label_selector") or {})
        return None

    def logs(self, submission_id: str) -> str:
        return str(self._json("GET", f"/api/jobs/{quote(submission_id)}/logs", seconds=LOG_SECONDS)["logs"])

    def stop(self, submission_id: str) -> None:
        self._json("POST", f"/api/jobs/{quote(submission_id)}/stop")

    def delete(self, submission_id: str) -> None:
        self._json("DELETE", f"/api/jobs/{quote(submission_id)}")

    def upload(self, content: bytes) -> str:
        """Put a zip where all nodes find it, unless it is there; its address for a runtime environment."""
        name = f"_ray_pkg_{hashlib.sha256(content).hexdigest()[:16]}.zip"
        path = f"/api/packages/gcs/{name}"
        answer = self._ask("GET", path)
        if answer.status_code == 404:
            self._good(self._ask("PUT", path, data=content))
            self.sent_bytes += len(content)
        else:
            self._good(answer)
        return f"gcs://{name}"

    def _state(self, kind: str, state: str) -> list[dict[str, Any]]:
        """From Ray's State API: nodes or actors in a state."""
        asked = {"detail": 1, "limit": MOST_TOLD, "filter_keys": "state", "filter_predicates": "="}
        answer = self._json("GET", f"/api/v0/{kind}", params=asked | {"filter_values": state})
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return found

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._decoded(self._ask(method, path, **request))

    def _decoded(self, answer: requests.Response) -> Any:
        try:
            return self._good(answer).json()
        except ValueError as error:
            raise self._not_ray() from error

    def _not_ray(self) -> ClusterError:
        return ClusterError(f"what answers at {self.url} does not answer as Ray's dashboard does", NO_DASHBOARD)

    def _ask(self, method: str, path: str, seconds: float = READ_SECONDS, **request: Any) -> requests.Response:
        left = seconds if self._deadline is None else max(self._deadline - time.monotonic(), LEAST_SECONDS)
        patience = (min(CONNECT_SECONDS, left), min(seconds, left))
        try:
            answer = requests.request(method, self.url + path, headers=self._headers, timeout=patience, **request)
        except (requests.RequestException, UnicodeError) as error:
            raise UnreachableError(
                f"no Ray dashboard answers at {self.url}: {_reason(error)}",
                "check that the cluster is up and that this machine reaches its port (8265 unless set otherwise)",
            ) from error
        if answer.status_code in (401, 403):
            raise _not_let_in(self.url, answer.status_code)
        if method == "GET" and answer.status_code >= 500:  # a dashboard without its head, or a proxy without either
            said = " ".join(answer.text.split())[-MOST_SAID:]
            raise UnreachableError(
                f"what answers at {self.url} cannot tell now ({answer.status_code}): {said}",
                "its head may be gone or just starting: try again in a minute, or look at its dashboard's log",
            )
        return answer

    def _good(self, answer: requests.Response) -> requests.Response:
        if answer.ok:
            return answer
        said = " ".join(answer.text.split())[-MOST_SAID:]
        raise ClusterError(
            f"the cluster at {self.url} has refused {answer.request.method} {answer.request.path_url} "
            f"({answer.status_code}): {said}",
            f"`rayox doctor --address {self.url}` looks at it" if self._is_ray(answer) else NO_DASHBOARD,
        )

    def _is_ray(self, refusal: requests.Response) -> bool:
        """Whether it is a dashboard of Ray's that has refused something."""
        try:
            return refusal.request.path_url != VERSION and bool(self.ray_version())
        except ClusterError:
            return False


def _not_let_in(url: str, status: int) -> ClusterError:
    ways = "RAY_AUTH_TOKEN_PATH=FILE (or RAY_AUTH_TOKEN)"
    if status == 401:
        return NotLetInError(
            f"the cluster at {url} wants a token and none was given", f"set {ways} to the cluster's token"
        )
    beyond = "" if not is_beyond_loopback(url) else ", which whoever runs the cluster gives out"
    return NotLetInError(f"the cluster at {url} does not take this token", f"set {ways} to this cluster's{beyond}")


def _job(values: Mapping[str, Any]) -> Job:
    return Job(
        submission_id=values["submission_id"],
        status=values["status"],
        message=without_secrets(values.get("message") or ""),  # the end of a log may be in it
        metadata=values.get("metadata") or {},
        start_time=(values.get("start_time") or 0) / 1000,
        end_time=(values.get("end_time") or 0) / 1000,
        node_id=values.get("driver_node_id") or "",
        job_id=values.get("job_id") or "",
        exit_code=values.get("driver_exit_code"),
    )


def _reason(error: Exception) -> str:
    """What the system said; requests wraps it in the names of its own classes."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    words = " ".join(str(error).split()).rpartition("] ")[2].rstrip("'\")")
    return words[-200:]
