"""The nodes of a cluster asked over the Jobs API, by a job of seconds; what they have, as each of them says."""

import inspect
import json
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rayox_cluster import node_probe
from rayox_cluster.jobs_api import JobRequest, JobsApi, UnreachableError
from rayox_cluster.node_probe import ANSWER, SHIPPED
from rayox_cluster.packaging import build_zip, installed_files
from rayox_cluster.versions import oldest_python
from rayox_model.core.errors import ClusterError
from rayox_model.core.secrets import masked_address

POLL_SECONDS = 0.5
START_SECONDS = 30.0  # after which a job that has not started is told of
LONGEST_SECONDS = 240.0
AWAY_SECONDS = 10.0
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
    outputs: tuple[str, ...] = ()  # what the job's driver has to be able to write
    images: tuple[tuple[str, str], ...] = ()  # annotations, and the folder that has images of theirs

    @property
    def wanted(self) -> str:
        """What a node is asked, for people."""
        asked = ["versions", *(["the data"] if self.paths else [])]
        asked += [f"storage {self.storage}"] if self.storage else []
        asked += [f"tracking {masked_address(self.tracking)}"] if self.tracking else []
        return ", ".join(asked)

    def to_json(self, mark: str) -> dict[str, Any]:
        return {
            "module": self.module,
            "mark": mark,
            "storage": self.storage,
            "tracking": self.tracking,
            "paths": self.paths,
            "outputs": self.outputs,
            "images": self.images,
            "variables": self.variables,
            "all_reduce": self.all_reduce,
            "seconds": self.patience_seconds,
            "oldest_python": oldest_python(),
        }


@dataclass(frozen=True)
class Answers:
    nodes: tuple[NodeFacts, ...]
    mark: str  # that the storage has now
    uploaded_bytes: int
    seconds: float
    all_reduce: float | str | None = None  # seconds, or what went wrong; None when not asked or of one node


def ask(
    api: JobsApi,
    question: Question,
    waits: Callable[[str], None] = lambda name: None,
    longest_seconds: float | None = None,
) -> Answers:
    """Ask every node; waits is told the job that asks when that has not started for START_SECONDS.

    What has not come after longest_seconds is said of its node, or left out. Raises ClusterError when the cluster does
    not come to answer at all.
    """
    began, mark = time.monotonic(), secrets.token_hex(8)
    longest_seconds = longest_seconds or LONGEST_SECONDS + question.patience_seconds
    forget_probes(api)
    files = {PROBE: inspect.getsource(node_probe).encode()}
    files |= {f"{SHIPPED}/{name}": content for name, content in installed_files().items()} if question.module else {}
    name, before = f"{PREFIX}{mark}", api.sent_bytes
    entrypoint = shlex.join(["python", PROBE, json.dumps(question.to_json(mark))])
    environment = {"working_dir": api.upload(build_zip(files))}
    sent = api.sent_bytes - before
    api.submit(JobRequest(name, entrypoint, environment, {"rayox_verb": "probe"}))
    told = _told(api, name, began + longest_seconds, longest_seconds, waits)
    with suppress(ClusterError):  # it is forgotten later
        api.delete(name)
    late = f"has not answered within {longest_seconds:.0f} s; it was asked: {question.wanted}"
    missing = {"error": late}
    nodes = tuple(_facts({**one, **told.answers.get(one["node"], missing)}) for one in told.nodes)
    all_reduce = told.all_reduce
    if question.all_reduce and not told.is_whole and not all_reduce:
        all_reduce = f"no sum within {longest_seconds:.0f} s"
    return Answers(nodes, mark, sent, round(time.monotonic() - began, 1), all_reduce)


def forget_probes(api: JobsApi, seconds: float = FORGOTTEN_SECONDS) -> None:
    """Delete the jobs that have asked and ended so long ago.

    Each is deleted once its answer is here; a Ray that has not noticed its end by then notes it as failed afterwards.
    """
    for job in api.jobs():
        if job.submission_id.startswith(PREFIX) and job.is_over and time.time() - job.end_time > seconds:
            with suppress(ClusterError):  # somebody else has done it
                api.delete(job.submission_id)


@dataclass(frozen=True)
class Told:
    """What the job that asks has said by now."""

    nodes: Sequence[Mapping[str, Any]]
    answers: Mapping[str, Mapping[str, Any]]  # by node
    all_reduce: float | str | None
    is_whole: bool


def _answers(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if line.startswith(ANSWER):
            with suppress(ValueError):  # it is being written, or another process has written into it
                yield json.loads(line.removeprefix(ANSWER))


def read_told(log: str) -> Told:
    """From the log of the job that asks."""
    lines = list(_answers(log))
    nodes: list[dict[str, Any]] = next((line["nodes"] for line in lines if "nodes" in line), [])
    answers = {line["node"]: line["answer"] for line in lines if "answer" in line}
    last = [line for line in lines if "all_reduce" in line]
    return Told(nodes, answers, last[0]["all_reduce"] if last else None, bool(last))


def _told(api: JobsApi, name: str, deadline: float, seconds: float, waits: Callable[[str], None]) -> Told:
    """What the job has said when it is over, or at the deadline. Raises ClusterError when that is nothing."""
    began = answered = time.monotonic()
    job, is_told = None, False
    while True:
        try:
            job, answered = api.find(name), time.monotonic()
        except UnreachableError:  # one failed request does not mean that the cluster is away
            if time.monotonic() - answered > AWAY_SECONDS:
                raise
        if job is not None and job.is_over:
            break
        now = time.monotonic()
        if not is_told and now - began > START_SECONDS and (job is None or job.status == "PENDING"):
            is_told = True
            waits(name)
        if now > deadline:
            break
        time.sleep(POLL_SECONDS)
    is_late = job is None or not job.is_over
    log = api.logs(name) if not is_late or (job is not None and job.start_time) else ""
    told = read_told(log)
    if is_late:
        with suppress(ClusterError):
            api.stop(name)
    if told.nodes and (is_late or told.is_whole or told.answers):
        return told
    if is_late:
        raise ClusterError(
            f"the cluster at {api.url} has not run a job of a second within {seconds:.0f} s"
            + (f": {job.message}" if job else ""),
            "look at its dashboard: the head may have no room for a process, or no Python at `python`",
        )
    last = (log.strip() or (job.message if job else "")).splitlines()[-1:]
    raise ClusterError(
        f"the nodes of the cluster at {api.url} cannot be asked: {' '.join(last)[:300]}",
        f"`ray job logs {name}` says more; `python` on the nodes has to be that of Ray",
    )


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
