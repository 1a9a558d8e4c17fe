"""The Ray cluster that this process is connected to, as data."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import ray

from rayox_platform.ray_internals.cluster_state import free_resources
from rayox_platform.resources.machines import Cluster, Machine, Room


def connected_cluster() -> Cluster:
    """Its machines that live: what they have and what of it nobody has reserved."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    free = free_resources()
    names = Counter(node["NodeManagerHostname"] for node in nodes)
    machines = tuple(
        Machine(
            node_name(node, names),
            _room(node["Resources"]),
            _room(free.get(node["NodeID"], {}), 0.0),
            tuple(sorted(node.get("Labels", {}).items())),
            store_bytes=node["Resources"].get("object_store_memory", math.inf),
        )
        for node in nodes
    )
    return Cluster(machines, ray.cluster_resources().get("object_store_memory", math.inf))


def node_name(node: Mapping[str, Any], names: Counter[str]) -> str:
    """Its host's name; with the start of the node's id where several nodes are on one host."""
    host, identity = node["NodeManagerHostname"], node["NodeID"][:8]
    return f"{host} ({identity})" if names[host] > 1 else str(host)


def _room(resources: Mapping[str, float], memory: float = math.inf) -> Room:
    return Room(resources.get("CPU", 0.0), resources.get("GPU", 0.0), resources.get("memory", memory))
