"""The CPUs that data tasks find when workers have theirs: looked at when they start, and again at every restart.

Ray gives workers that are started again whatever is left after a loss, also the last CPU; the stream would then wait
forever, and silently, for a share that no machine has.
"""

import socket
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.util

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.capacity import LEAST_SHARE, STEPS
from rayox_platform.resources.connected import node_name
from rayox_platform.resources.machines import ROUNDING, Machine, Room, described_machines
from rayox_platform.resources.node_labels import has_labels, selector

SETTLE_SECONDS, EVERY_SECONDS = 20.0, 0.5  # until Ray has noticed who is gone, and has given back what he had
ANSWER_SECONDS = 2.0


def share_for_data(wanted: float, nodes: str | None = None) -> float:
    """The CPUs of a data task, at most the wanted ones, that some machine has beside the workers that are placed.

    nodes is data.nodes: the labels of the machines that count. Raises ClusterError, with what each machine has, when
    none has any.
    """
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        machines = [machine for machine in _machines() if has_labels(machine, selector(nodes))]
        most = max((machine.free.cpus for machine in machines), default=0.0)
        if most + ROUNDING >= wanted:
            return wanted
        if time.monotonic() > end:
            break
        time.sleep(EVERY_SECONDS)
    share = int((most + ROUNDING) * STEPS) / STEPS
    if share >= LEAST_SHARE:
        return share
    raise ClusterError(
        f"no machine has a part of a CPU left for data beside the workers: {described_machines(machines)}",
        "bring machines back, or resume with a smaller train.cpus_per_worker or fewer train.workers",
    )


def _machines() -> list[Machine]:
    """Those that answer, and what placement groups leave of them; tasks of others come and go."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0)]
    with ThreadPoolExecutor(min(len(nodes), 32) or 1) as pool:
        nodes = [node for node, answers in zip(nodes, pool.map(_answers, nodes), strict=True) if answers]
    taken = _taken_by_groups()
    names = Counter(node["NodeManagerHostname"] for node in nodes)
    found = []
    for node in nodes:
        total = node["Resources"].get("CPU", 0.0)
        left = max(total - taken[node["NodeID"]], 0.0)
        labels = tuple(sorted(node.get("Labels", {}).items()))
        found.append(Machine(node_name(node, names), Room(total), Room(left), labels))
    return found


def _answers(node: Mapping[str, Any]) -> bool:
    """A machine that is gone is taken for alive until it has missed heartbeats; its port tells at once."""
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _taken_by_groups() -> Counter[str]:
    """CPUs that placement groups have reserved, by node."""
    taken: Counter[str] = Counter()
    for group in ray.util.placement_group_table().values():
        if group["state"] == "CREATED":
            for index, bundle in group["bundles"].items():
                taken[group["bundles_to_node_id"].get(index, "")] += bundle.get("CPU", 0)
    return taken
