"""Who gets which CPUs, solved before anything starts: Ray Data waits for ever when Train holds them all."""

import os
from dataclasses import dataclass

from rayox_model.errors import ClusterError

DATA_CPUS = 1.0  # the least that Ray Data needs to move at all
LEAST_SHARE = 0.1  # of a CPU a worker may be squeezed to before it is refused


@dataclass(frozen=True)
class Resources:
    """What each training worker reserves and uses."""

    workers: int
    cpus_per_worker: float  # reserved with Ray; below 1 the workers share cores with the data tasks
    threads_per_worker: int  # of torch
    gpu: bool


def solve(workers: int, cluster_cpus: float, cluster_gpus: float) -> Resources:
    """Give each worker a CPU, or an equal share of what is left beside the data tasks. Raises ClusterError."""
    share = min(1.0, (cluster_cpus - DATA_CPUS) / workers)
    if share < LEAST_SHARE:
        raise ClusterError(
            f"train.workers: {workers} workers and the data tasks do not fit on {cluster_cpus:g} CPUs "
            f"({DATA_CPUS:g} for data, at least {LEAST_SHARE:g} for each worker)",
            "lower train.workers, or add CPUs to the cluster",
        )
    gpu = cluster_gpus >= workers
    if cluster_gpus and not gpu:
        raise ClusterError(
            f"train.workers: {workers} workers want a GPU each, the cluster has {cluster_gpus:g}",
            f"set train.workers={int(cluster_gpus)}",
        )
    share = int(share * 100) / 100
    return Resources(workers, share, max(1, (os.cpu_count() or 1) // workers), gpu)
