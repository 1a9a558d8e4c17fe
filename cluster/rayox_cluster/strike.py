"""Kills one part of a run on a cluster, for a drill; a program that runs as a job of its own.

Arguments: what to kill (worker, node, driver), the submission id of the run's job, the node of its driver.
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

WORKER_CLASS = "RayTrainWorker"
STRUCK = "rayox-struck: "
ANSWER_SECONDS = 60.0


def kill(pid: int) -> int:
    """SIGKILL to a process of the node that this runs on."""
    os.kill(pid, signal.SIGKILL)
    return pid


def kill_node() -> int:
    """SIGKILL to the raylet that has started this process: its node is lost with all that runs on it."""
    os.kill(os.getppid(), signal.SIGKILL)
    return os.getppid()


def kill_driver(submission_id: str) -> int:
    """SIGKILL to the process that runs a job's verb on this node."""
    import psutil  # type: ignore[import-untyped]

    for process in psutil.process_iter():
        try:
            words, environment = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        if "rayox.job_driver" in words and submission_id in environment.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""):
            return kill(process.pid)
    raise SystemExit(f"no driver of {submission_id} on this node")


def strike(what: str, submission_id: str, driver_node: str) -> str:
    """Find the part and kill it; says what was hit."""
    import ray
    from ray.exceptions import RayError
    from ray.util.state import list_actors

    ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
    if what == "driver":
        found = ray.get(on_node(driver_node, kill_driver).remote(submission_id), timeout=ANSWER_SECONDS)
        return f"driver {found} on node {driver_node[:8]}"
    workers = [
        actor
        for actor in list_actors(filters=[("state", "=", "ALIVE")], detail=True)
        if WORKER_CLASS in actor.class_name
    ]
    if what == "worker":
        hit = workers[-1]
        ray.get(on_node(hit.node_id, kill).remote(hit.pid), timeout=ANSWER_SECONDS)
        return f"worker {hit.pid} on node {hit.node_id[:8]}"
    heads = {node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"]}
    away = [actor.node_id for actor in workers if actor.node_id not in heads | {driver_node}]
    if not away:
        raise SystemExit("no worker on a node without head and driver")
    with suppress(RayError):  # the one who would answer is dead
        ray.get(on_node(away[0], kill_node).remote(), timeout=ANSWER_SECONDS)
    return f"node {away[0][:8]}"


def on_node(node: str, call: Any) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(call).options(scheduling_strategy=place)


if __name__ == "__main__":
    hit = strike(*sys.argv[1:4])
    print(STRUCK + json.dumps([hit, time.time()]))
