"""Who gets what of a cluster, solved before anything starts: Ray Data waits for ever when Train holds every CPU.

One calculator for whoever plans work: a training asks for itself, a search asks for each of its trials.
"""

import math
import os
from dataclasses import dataclass, replace

import ray

from rayox_model.core.errors import ClusterError

GIB = 2**30
DATA_CPUS = 1.0  # the least that Ray Data needs to move at all
DATA_TASK_CPUS = 0.66  # one and a half tasks a core: between two tasks Ray leaves it idle for a fifth of the time
STORE_SHARE = 0.5  # of the object store, which Ray Data lets one stream fill
LEAST_SHARE = 0.1  # of a CPU a worker may be squeezed to before it is refused
WORKER_BYTES = 1.2 * GIB  # resident memory of a training process on a CPU: torch, gradients, activations of nano
DATA_TASK_BYTES = 0.4 * GIB  # of a data task's process


@dataclass(frozen=True)
class Cluster:
    """What a cluster has, and what of it is free now."""

    cpus: float
    free_cpus: float
    gpus: float
    free_gpus: float
    memory_bytes: float
    object_store_bytes: float
    node_cpus: tuple[float, ...] = ()  # of each machine; empty: all on one


@dataclass(frozen=True)
class Demand:
    """What one training asks for."""

    workers: int
    cpus_per_worker: float | None  # None: as many as go round
    block_bytes: int  # of one block of the stream
    lanes: int  # of the stream
    fewest_workers: int | None = None  # of an elastic training, which may grow to `workers`; None: always as many


@dataclass(frozen=True)
class Capacity:
    """What each training worker reserves and uses, and what is left for the data."""

    workers: int
    cpus_per_worker: float  # reserved with Ray; below 1 the workers share cores with the data tasks
    threads_per_worker: int  # of torch
    gpu: bool
    data_cpus: float
    fewest_workers: int  # equal to `workers` unless the training is elastic
    cpus_per_data_task: float = DATA_TASK_CPUS

    def __str__(self) -> str:
        device = "a GPU and " if self.gpu else ""
        fewest = f"{self.fewest_workers} to " if self.fewest_workers < self.workers else ""
        workers = f"{fewest}{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{workers} with {device}{self.cpus_per_worker:g} CPU each, {self.data_cpus:g} CPU for data"


def connected_cluster() -> Cluster:
    """Of the Ray cluster this process is connected to."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return Cluster(
        cpus=total.get("CPU", 0),
        free_cpus=free.get("CPU", 0),
        gpus=total.get("GPU", 0),
        free_gpus=free.get("GPU", 0),
        memory_bytes=total.get("memory", math.inf),
        object_store_bytes=total.get("object_store_memory", math.inf),
        node_cpus=tuple(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]),
    )


def capacity(demand: Demand, cluster: Cluster) -> Capacity:
    """Give each worker a CPU, or an equal share of what is left beside the data tasks.

    Raises ClusterError, with the numbers, for what would wait for ever or run out of memory.
    """
    fewest = demand.workers if demand.fewest_workers is None else demand.fewest_workers
    gpu = cluster.gpus > 0
    if gpu and cluster.free_gpus < fewest:
        raise ClusterError(
            f"train.workers: {fewest} workers want a GPU each, but of the cluster's {cluster.gpus:g} "
            f"{cluster.free_gpus:g} are free",
            f"set train.workers={max(int(cluster.free_gpus), 1)}, or wait for the others to finish",
        )
    started = replace(demand, workers=fewest)  # what it can begin with, if it cannot have all
    share = _share(started, cluster)
    data_task = DATA_TASK_CPUS
    if fewest < demand.workers and not gpu:
        share, data_task = _elastic_share(demand, cluster)
    data_cpus = cluster.free_cpus - share * fewest
    _check_memory(started, _data_tasks(data_cpus, data_task), cluster)
    threads = max(1, (os.cpu_count() or 1) // demand.workers)
    return Capacity(demand.workers, share, threads, gpu, round(data_cpus, 2), fewest, data_task)


def room_for_block(demand: Demand, given: Capacity, cluster: Cluster) -> float:
    """Bytes that a block of the stream may have before the stream fills its share of the object store."""
    tasks = _data_tasks(given.data_cpus, given.cpus_per_data_task)
    return STORE_SHARE * cluster.object_store_bytes / _blocks_kept(demand, tasks)


def _data_tasks(data_cpus: float, cpus_per_task: float) -> int:
    return max(int(data_cpus / cpus_per_task), 1)


def _blocks_kept(demand: Demand, tasks: int) -> int:
    """Blocks of the stream that are in the object store at most.

    A window of every lane that the workers read and one that waits; a block that each task makes and one it has made
    beyond that; two that each worker fetches ahead.
    """
    return 2 * (demand.lanes + tasks + demand.workers)


def _elastic_share(demand: Demand, cluster: Cluster) -> tuple[float, float]:
    """The CPUs of a worker and of a data task, so that no machine can be filled up with workers.

    Ray fills the machines that are left after a loss with as many workers as fit: one more than planned must not fit,
    and beside the planned ones a data task must.
    """
    nodes = cluster.node_cpus or (cluster.cpus,)
    cpus, planned = min(nodes), -(-demand.workers // len(nodes))
    share = demand.cpus_per_worker or math.floor(cpus / (planned + 1) * 100 + 1) / 100
    left = math.floor((cpus - cpus // share * share) * 100) / 100
    if left < LEAST_SHARE:
        raise ClusterError(
            f"train.cpus_per_worker: machines of {cpus:g} CPUs can be filled up by workers of {share:g}, and the data "
            "would wait for ever when machines are lost",
            "leave train.cpus_per_worker out, or choose one that leaves a part of a CPU on every machine",
        )
    return share, min(DATA_TASK_CPUS, left)


def _share(demand: Demand, cluster: Cluster) -> float:
    spare = cluster.free_cpus - DATA_CPUS
    share = demand.cpus_per_worker or min(1.0, spare / demand.workers)
    share = math.floor(share * 100) / 100
    if share < LEAST_SHARE or share * demand.workers > spare:
        asked = demand.cpus_per_worker or LEAST_SHARE
        busy = cluster.cpus - cluster.free_cpus
        in_use = f" ({busy:g} of {cluster.cpus:g} are in use)" if busy else ""
        raise ClusterError(
            f"train.workers: {demand.workers} workers at {asked:g} CPU and {DATA_CPUS:g} CPU for data need "
            f"{demand.workers * asked + DATA_CPUS:g} CPUs, but {cluster.free_cpus:g} are free{in_use}",
            "wait for the others to finish, add CPUs, or lower train.workers or train.cpus_per_worker",
        )
    return share


def _check_memory(demand: Demand, tasks: int, cluster: Cluster) -> None:
    needed = demand.workers * WORKER_BYTES + tasks * DATA_TASK_BYTES
    if needed > cluster.memory_bytes:
        raise ClusterError(
            f"train.workers: {demand.workers} workers and {tasks} data tasks take about {needed / GIB:.1f} GiB of "
            f"memory, but the cluster has {cluster.memory_bytes / GIB:.1f}",
            "lower train.workers, or add memory",
        )
    blocks = _blocks_kept(demand, tasks) * demand.block_bytes
    if blocks > cluster.object_store_bytes:
        raise ClusterError(
            f"the stream keeps about {blocks / GIB:.1f} GiB of images in Ray's object store, but the cluster has "
            f"{cluster.object_store_bytes / GIB:.1f}",
            "lower image_size or train.workers, or give Ray a larger object store",
        )
