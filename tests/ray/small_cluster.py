"""A Ray cluster of three nodes on this machine, whose nodes can be killed and added."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster


@contextmanager
def three_nodes(**node: Any) -> Iterator[Cluster]:
    """Three raylets, each with these resources; ended, and the note of them removed, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="rx-", dir="/tmp"))
    note = Path(get_ray_address_file(None))  # Ray writes it there whatever temp_dir says
    note.parent.mkdir(exist_ok=True)
    cluster = Cluster()
    try:
        cluster.add_node(**node, include_dashboard=False, temp_dir=str(folder))
        for _ in range(2):
            cluster.add_node(**node)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
