"""The nodes of a cluster asked over the Jobs API, by a job of seconds; what they have, as each of them says."""

import inspect
import json
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rayox_cluster import node_probe
from rayox_cluster.jobs_api import JobRequest, JobsApi
from rayox_cluster.node_probe import ANSWER, SHIPPED
from rayox_cluster.packaging import build_zip, installed_files
from rayox_model.core.errors import ClusterError

POLL_SECONDS = 0.5
START_SECONDS = 30.0  # after which a job that has not started is told of
LONGEST_SECONDS = 240.0
FORGOTTEN_SECONDS = 60.0  # after which whoever asked has its answer
PROBE = "probe.py"
PREFIX = "rayox-probe-"


@dataclass(frozen=True)
class NodeFacts:
    """What one node has, or why it has not answered."""

    node: str
    address: str
    is_head: bool
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    error: str  # empty when it has answered
    host: str
    python: str
    packages: Mapping[str, str]
    rayox: Mapping[str, str]  # version and digest of the one that is installed on it
    clock_ahead_seconds: float  # at least so much; of a clock that is behind it is negative
    disk_free_bytes: int
    shared_memory_bytes: int
    gpus: Sequence[str]
    variables: Sequence[str]  # of those asked for, the ones that are set
    checks: Mapping[str, Any]  # as the question's module gives them

    def __str__(self) -> str:
        return f"node {self.node[:8]} ({self.host or self.address})"


@dataclass(frozen=True)
class Question:
    """What the nodes are asked beyond what they are."""

    module: str = ""  # with begin and check, out of rayox as it is here
    storage: str | None = None
    tracking: str | None = None
    paths: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    all_reduce: bool = False  # also whether workers of all nodes reach each other
    patience_seconds: float = 60.0  # for a process of each node to start and answer

    def to_json(self, mark: str) -> dict[str, Any]:
        return {
            "module": self.module,
            "mark": mark,
            "storage": self.storage,
            "tracking": self.tracking,
            "paths": self.paths,
            "variables": self.variables,
            "all_reduce": self.all_reduce,
            "seconds": self.patience_seconds,
        }


@dataclass(frozen=True)
class Answers:
    nodes: tuple[NodeFacts, ...]
    mark: str  # that the storage has now
    uploaded_bytes: int
    seconds: float
    all_reduce: float | str | None = None  # seconds, or what went wrong; None when not asked or of one node


def ask(api: JobsApi, question: Question, waits: Callable[[str], None] = lambda name: None) -> Answers:
    """Ask every node; waits is told the job that asks when that has not started for START_SECONDS.

    Raises ClusterError when the cluster does not come to answer.
    """
    forget_probes(api)
    began, mark = time.monotonic(), secrets.token_hex(8)
    files = {PROBE: inspect.getsource(node_probe).encode()}
    files |= {f"{SHIPPED}/{name}": content for name, content in installed_files().items()} if question.module else {}
    package = build_zip(files)
    name = f"{PREFIX}{mark}"
    asked = json.dumps(question.to_json(mark))
    api.submit(
        JobRequest(
            name, shlex.join(["python", PROBE, asked]), {"working_dir": api.upload(package)}, {"rayox_verb": "probe"}
        )
    )
    told = _answers(api, name, LONGEST_SECONDS + question.patience_seconds, waits)
    api.delete(name)
    nodes = tuple(_facts(one) for one in told["nodes"])
    return Answers(nodes, mark, len(package), round(time.monotonic() - began, 1), told.get("all_reduce"))


def forget_probes(api: JobsApi, seconds: float = FORGOTTEN_SECONDS) -> None:
    """Delete the jobs that have asked and ended so long ago.

    Each is deleted once its answer is here; a Ray that has not noticed its end by then notes it as failed afterwards.
    """
    for job in api.jobs():
        if job.submission_id.startswith(PREFIX) and job.is_over and time.time() - job.end_time > seconds:
            with suppress(ClusterError):  # somebody else has done it
                api.delete(job.submission_id)


def _answers(api: JobsApi, name: str, longest_seconds: float, waits: Callable[[str], None]) -> dict[str, Any]:
    began, told = time.monotonic(), False
    while True:
        job = api.find(name)
        if job is not None and job.is_over:
            break
        waited = time.monotonic() - began
        if not told and waited > START_SECONDS and (job is None or job.status == "PENDING"):
            told = True
            waits(name)
        if waited > longest_seconds:
            api.stop(name)
            raise ClusterError(
                f"the cluster at {api.url} has not run a job of a second within {longest_seconds:.0f} s"
                + (f": {job.message}" if job else ""),
                "look at its dashboard: the head may have no room for a process, or no Python at `python`",
            )
        time.sleep(POLL_SECONDS)
    lines = [line for line in api.logs(name).splitlines() if line.startswith(ANSWER)]
    if not lines:
        last = (api.logs(name).strip() or job.message).splitlines()[-1:]
        raise ClusterError(
            f"the nodes of the cluster at {api.url} cannot be asked: {' '.join(last)[:300]}",
            f"`ray job logs {name}` says more; `python` on the nodes has to be that of Ray",
        )
    answer: dict[str, Any] = json.loads(lines[-1].removeprefix(ANSWER))
    return answer


def _facts(values: Mapping[str, Any]) -> NodeFacts:
    asked, answered, told = values.get("asked", 0.0), values.get("answered", 0.0), values.get("time", 0.0)
    ahead = max(told - answered, 0.0) + min(told - asked, 0.0)  # what the time between cannot explain
    return NodeFacts(
        node=values["node"],
        address=values["address"],
        is_head=values["head"],
        resources=values["resources"],
        labels=values["labels"],
        error=values.get("error", ""),
        host=values.get("host", ""),
        python=values.get("python", ""),
        packages=values.get("packages", {}),
        rayox=values.get("rayox", {}),
        clock_ahead_seconds=ahead,
        disk_free_bytes=values.get("disk_free_bytes", 0),
        shared_memory_bytes=values.get("shared_memory_bytes", 0),
        gpus=values.get("gpus", ()),
        variables=values.get("variables", ()),
        checks=values.get("checks", {}),
    )
