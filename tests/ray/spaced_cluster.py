"""A cluster of one node whose processes are to be run by the Python at sys.argv[1], until standard input ends."""

import shutil
import sys
import tempfile
from pathlib import Path

from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster

if __name__ == "__main__":
    sys.executable = sys.argv[1]
    folder = tempfile.mkdtemp(prefix="rx-", dir="/tmp")
    note = Path(get_ray_address_file(None))
    note.parent.mkdir(exist_ok=True)
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, temp_dir=folder)
        print(cluster.address, flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()
        note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
