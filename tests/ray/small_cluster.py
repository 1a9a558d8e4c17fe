"""A Ray cluster of several nodes on this machine, which can be killed and added."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster


def three_nodes(**node: Any) -> AbstractContextManager[Cluster]:
    """Three raylets, each with these resources."""
    return nodes(node, node, node)


@contextmanager
def nodes(head: Mapping[str, Any], *others: Mapping[str, Any]) -> Iterator[Cluster]:
    """A raylet for each, with these resources; ended, and the note of them removed, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="rx-", dir="/tmp"))
    note = Path(get_ray_address_file(None))  # Ray writes it there whatever temp_dir says
    note.parent.mkdir(exist_ok=True)
    cluster = Cluster()
    try:
        cluster.add_node(**head, include_dashboard=False, temp_dir=str(folder))
        for node in others:
            cluster.add_node(**node)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def kill_raylet(cluster: Cluster, node_id: str) -> None:
    """As if the machine had lost its power: no goodbye."""
    node = next(one for one in cluster.worker_nodes if one.node_id == node_id)
    for process in node.all_processes["raylet"]:
        os.kill(process.process.pid, signal.SIGKILL)
