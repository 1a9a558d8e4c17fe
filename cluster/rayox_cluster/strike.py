"""Kills one part of a run on a cluster, or takes one away for a while; a program that runs as a job of its own.

Arguments, as JSON: what (worker, node, driver, tracking, storage), the submission id of the run's job, the node of its
driver, the run's folder, how many seconds an outage lasts, and Ray's own id of the job, whose workers alone are struck.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER_CLASS = "RayTrainWorker"
STRUCK = "rayox-struck: "
ANSWER_SECONDS = 60.0
MOST_TOLD = 10_000  # actors; Ray gives 100 unless it is asked for more
DRIVER, PROXY = "rayox.submission.job_driver", "rayox_cluster.outage_proxy"
AWAY = ".away-"  # before the name of a folder that is taken away


@dataclass(frozen=True)
class Blow:
    """What is to be struck."""

    what: str
    submission_id: str
    driver_node: str
    folder: str = ""  # of the run, for an outage of its storage
    seconds: float = 0.0  # of an outage
    job_id: str = ""  # as Ray calls it: others may train on the same cluster


def kill(pid: int) -> int:
    """SIGKILL to a process of the node that this runs on."""
    os.kill(pid, signal.SIGKILL)
    return pid


def kill_node() -> int:
    """SIGKILL to the raylet that has started this process: its node is lost with all that runs on it."""
    os.kill(os.getppid(), signal.SIGKILL)
    return os.getppid()


def signal_program(module: str, submission_id: str, number: int) -> int:
    """A signal to the process of a job's that runs a module on this node."""
    import psutil  # type: ignore[import-untyped]

    for process in psutil.process_iter():
        try:
            words, environment = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        if module in words and submission_id in environment.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""):
            os.kill(process.pid, number)
            return int(process.pid)
    raise SystemExit(f"no {module} of {submission_id} on this node")


@contextmanager
def taken_away(folder: Path) -> Iterator[None]:
    """Nothing can be opened or made under this path, whoever asks: the folder has another name, a file has its own."""
    aside = folder.with_name(f"{AWAY}{folder.name}")
    folder.rename(aside)
    try:
        folder.write_bytes(b"")
        yield
    finally:
        folder.unlink(missing_ok=True)
        aside.rename(folder)


def take_storage(folder: str, seconds: float) -> str:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a job that is stopped puts it back first
    with taken_away(Path(folder)):
        time.sleep(seconds)
    return folder


def strike(blow: Blow) -> str:
    """Find the part and strike it; returns what was hit, once an outage is over."""
    import ray
    from ray.exceptions import RayError

    ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
    node = blow.driver_node
    match blow.what:
        case "driver":
            hit = _ask(node, signal_program, DRIVER, blow.submission_id, int(signal.SIGKILL))
            return f"driver {hit} on node {node[:8]}"
        case "tracking":
            _ask(node, signal_program, PROXY, blow.submission_id, int(signal.SIGUSR1))
            time.sleep(blow.seconds)
            return f"MLflow for {blow.seconds:g} s"
        case "storage":
            _ask(node, take_storage, blow.folder, blow.seconds, seconds=blow.seconds)
            return f"the run's folder for {blow.seconds:g} s"
        case "worker":
            worker = _workers(blow.job_id)[-1]
            _ask(worker.node_id, kill, worker.pid)
            return f"worker {worker.pid} on node {worker.node_id[:8]}"
    heads = {one["NodeID"] for one in ray.nodes() if "node:__internal_head__" in one["Resources"]}
    away = [worker.node_id for worker in _workers(blow.job_id) if worker.node_id not in heads | {node}]
    if not away:
        raise SystemExit("no worker on a node without head and driver")
    with suppress(RayError):  # the one who would answer is dead
        _ask(away[0], kill_node)
    return f"node {away[0][:8]}"


def _workers(job_id: str) -> list[Any]:
    """The workers of one job. Raises SystemExit when it has none."""
    from ray.util.state import list_actors

    alive = list_actors(filters=[("state", "=", "ALIVE"), ("job_id", "=", job_id)], detail=True, limit=MOST_TOLD)
    found = [actor for actor in alive if WORKER_CLASS in actor.class_name and actor.job_id == job_id]
    if not found:
        raise SystemExit("the run has no worker now")
    return found


def _ask(node: str, call: Any, *arguments: object, seconds: float = 0.0) -> Any:
    """The answer of a function that runs on a node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node, soft=False)
    remote = ray.remote(num_cpus=0, max_retries=0)(call).options(scheduling_strategy=place)
    return ray.get(remote.remote(*arguments), timeout=ANSWER_SECONDS + seconds)


if __name__ == "__main__":
    told = Blow(**json.loads(sys.argv[1]))
    hit = strike(told)
    print(STRUCK + json.dumps([hit, time.time()]))
