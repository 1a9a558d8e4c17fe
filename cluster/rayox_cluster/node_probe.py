"""Asks every node of a cluster what it has; a program that runs as a job, with one argument: what to ask, as JSON.

It imports nothing of rayox at the top: the nodes may have another one, or none, and a Python that is too old for it.
What of the question needs rayox's own code is asked of the module that the question names, out of the files that came
with the job. What is known is printed as it comes, a line each.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    "ray",
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "mlflow",
    "pyarrow",
    "rayox",
)
ANSWER = "rayox-probe-answer: "
ALL_REDUCE_TASK_SECONDS = 60.0
ALL_REDUCE_SECONDS = 30
SHIPPED = "shipped"  # folder of the job's files that has rayox as it is on the client
OWN_RAYOX = """
import json
from importlib.metadata import version
try:
    from rayox_cluster.packaging import digest
    print(json.dumps([version("rayox"), digest()]))
except ImportError:
    print(json.dumps(["", ""]))
"""


def facts(question: dict[str, Any]) -> dict[str, Any]:
    """What this node is and has; runs on it."""
    disk = shutil.disk_usage(Path.cwd())  # of the job's files, in Ray's temp folder
    found: dict[str, Any] = {
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "rayox": _own_rayox(),
        "time": time.time(),
        "disk_free_bytes": disk.free,
        "shared_memory_bytes": shutil.disk_usage("/dev/shm").total if Path("/dev/shm").exists() else 0,
        "gpus": _gpus(),
        "variables": [name for name in question.get("variables", ()) if os.environ.get(name)],
    }
    if question.get("module") and _runs_rayox(question):
        found["checks"] = _checks(question).check(question)
    return found


def _runs_rayox(question: dict[str, Any]) -> bool:
    return sys.version_info[:2] >= tuple(question.get("oldest_python", (0, 0)))


def _checks(question: dict[str, Any]) -> Any:
    """The module that knows what cannot be asked without rayox, as the client has it."""
    sys.path.insert(0, str(Path.cwd() / SHIPPED))
    return importlib.import_module(question["module"])


def ask_nodes(question: dict[str, Any]) -> None:
    """Tell the facts of every node that is alive, or what kept it from answering."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    tell({"nodes": [_node(node) for node in nodes]})
    checks = _checks(question) if question.get("module") and _runs_rayox(question) else None
    if checks is not None:
        checks.begin(question)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(facts)
        asked = {}
        for node in nodes:
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[ask.options(scheduling_strategy=here).remote(question)] = (node["NodeID"], time.time())
        _tell_answers(asked, question["seconds"])
    finally:
        if checks is not None:
            checks.end(question)


def _tell_answers(asked: dict[Any, tuple[str, float]], seconds: float) -> None:
    """Each as it comes; all have the same while for it."""
    import ray

    deadline = time.monotonic() + seconds
    while asked:
        ready, _ = ray.wait(list(asked), num_returns=1, timeout=max(deadline - time.monotonic(), 0.0))
        if not ready:
            break
        node, sent = asked.pop(ready[0])
        tell({"node": node, "answer": _answer(ready[0], sent)})
    for node, _ in asked.values():
        tell({"node": node, "answer": {"error": f"has not answered for {seconds:.0f} s"}})


def _answer(reference: Any, sent: float) -> dict[str, Any]:
    import ray
    from ray.exceptions import RayError

    try:
        found: dict[str, Any] = ray.get(reference)
        return found | {"asked": sent, "answered": time.time()}
    except RayError as error:
        return {"error": str(error).strip().splitlines()[-1][:300]}


def tell(what: dict[str, Any]) -> None:
    print(ANSWER + json.dumps(what), flush=True)


def _node(node: dict[str, Any]) -> dict[str, Any]:
    head = "node:__internal_head__" in node["Resources"]
    resources = {name: node["Resources"].get(name, 0) for name in ("CPU", "GPU", "memory", "object_store_memory")}
    return {
        "node": node["NodeID"],
        "address": node["NodeManagerAddress"],
        "head": head,
        "resources": resources,
        "labels": node.get("Labels", {}),
    }


def all_reduce(rank: int, world_size: int, host: str, port: int) -> float:
    """Seconds that a sum of 4 MB over all ranks takes; runs on each node at once."""
    import datetime

    import torch
    import torch.distributed as dist

    patience = datetime.timedelta(seconds=ALL_REDUCE_SECONDS)
    meeting = f"tcp://{host}:{port}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size, timeout=patience)
    try:
        values = torch.full((1_000_000,), float(rank + 1))
        dist.all_reduce(values)
        began = time.monotonic()
        dist.all_reduce(values)
        return time.monotonic() - began
    finally:
        dist.destroy_process_group()


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        port: int = taken.getsockname()[1]
        return port


def try_all_reduce() -> float | str | None:
    """Its seconds, or why it failed; None where there is one node alone."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return None
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    host = nodes[0]["NodeManagerAddress"]
    try:
        port_of = ray.remote(num_cpus=0, max_retries=0)(free_port).options(scheduling_strategy=places[0])
        port = ray.get(port_of.remote(), timeout=ALL_REDUCE_TASK_SECONDS)
        reduce = ray.remote(num_cpus=0, max_retries=0)(all_reduce)
        ranks = [
            reduce.options(scheduling_strategy=place).remote(rank, len(nodes), host, port)
            for rank, place in enumerate(places)
        ]
        seconds: list[float] = ray.get(ranks, timeout=ALL_REDUCE_TASK_SECONDS)
        return max(seconds)
    except GetTimeoutError:
        return f"no sum within {ALL_REDUCE_TASK_SECONDS:.0f} s"
    except RayError as error:
        return str(error).strip().splitlines()[-1][:300]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _own_rayox() -> dict[str, str]:
    """The version of the rayox that is installed here, not of the one that came with the job."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAYOX], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    try:
        version, digest = json.loads(done.stdout)
    except ValueError:
        return {"version": "", "digest": ""}
    return {"version": version, "digest": digest}


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()


if __name__ == "__main__":
    asked_for = json.loads(sys.argv[1])
    ask_nodes(asked_for)
    tell({"all_reduce": try_all_reduce() if asked_for.get("all_reduce") else None})
