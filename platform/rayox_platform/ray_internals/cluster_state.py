"""What Ray knows of its cluster and has no public question for.

It buys a checkpoint within a second of the notice that a machine will be taken away, the cause of a stream that stands
still, and a refusal before the start where no machine has room. Without it a run that loses the machine continues from
its last checkpoint, and machines count as empty.
"""

from typing import NamedTuple

import ray

from rayox_platform.ray_internals.switch import attempt


class StoreUse(NamedTuple):
    """Bytes of all object stores together."""

    used: int
    available: int


def draining_nodes() -> dict[str, int]:
    """Nodes that Ray will take away, by id, and when: milliseconds since 1970, 0 where that is not known.

    Empty where Ray does not answer just now.
    """
    return attempt("notice of machines that go", _draining_nodes, {})


def free_resources() -> dict[str, dict[str, float]]:
    """What nobody has reserved, by node id; where this Ray does not say, all that each of several nodes has."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return {nodes[0]["NodeID"]: ray.available_resources()}
    return attempt("view of every node", _free_resources, {node["NodeID"]: node["Resources"] for node in nodes})


def object_stores() -> StoreUse | None:
    return attempt("view of the object stores", _object_stores, None)


def _draining_nodes() -> dict[str, int]:
    import ray._private.state

    found: dict[str, int] = ray._private.state.state.get_draining_nodes()
    return found


def _free_resources() -> dict[str, dict[str, float]]:
    import ray._private.state

    return dict(ray._private.state.available_resources_per_node())


def _object_stores() -> StoreUse:
    import ray._private.state
    from ray._private.internal_api import get_memory_info_reply

    stats = get_memory_info_reply(ray._private.state.state).store_stats
    return StoreUse(stats.object_store_bytes_used, stats.object_store_bytes_avail)
