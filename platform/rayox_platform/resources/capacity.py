"""Who gets what of a cluster, solved before anything starts: Ray Data waits forever when Train holds every CPU.

One calculator for whoever plans work: a training asks for itself, a search for all of its trials at once. It counts
machine by machine, as a worker has to fit on one, and asks nobody: see connected.py for the cluster at hand.
"""

import math
from dataclasses import replace

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.demand import (
    DATA_CPUS,
    DATA_TASK_BYTES,
    DATA_TASK_CPUS,
    GIB,
    WORKER_BYTES,
    Capacity,
    Demand,
    gpus_in_words,
)
from rayox_platform.resources.machines import (
    ROUNDING,
    Cluster,
    Room,
    cpus_for_data,
    described,
    leaves_a_task,
    places,
    smallest_part,
    tasks_beside,
    workers_beside_data,
)

STORE_SHARE = 0.5  # of the object store, which Ray Data lets one stream fill
LEAST_SHARE = 0.1  # of a CPU a worker or a data task may be squeezed to before it is refused
STEPS = 100  # of a CPU: the shares that are looked at


def capacity(demand: Demand, cluster: Cluster) -> Capacity:
    """Give each worker a CPU, or an equal share of what is left beside the data tasks.

    A share that nobody has asked for is small enough for the loss of any one machine, if there is such a share.
    Raises ClusterError, with what each machine has and the largest setting that fits, for what would wait forever or
    run out of memory.
    """
    fewest = demand.workers if demand.fewest_workers is None else demand.fewest_workers
    gpu = cluster.gpus > 0
    if gpu and gpu_places(demand, cluster) < fewest:
        raise _too_few_gpus(replace(demand, workers=fewest), cluster)
    started = replace(demand, workers=fewest)  # what it can begin with, if it cannot have all
    share, data_task = best_share(started, cluster), DATA_TASK_CPUS
    if share is None:
        raise _refused(started, cluster)
    if fewest < demand.workers:
        share, data_task = _elastic_share(demand, cluster, share)
    given = worker_room(demand, share, cluster)
    data_cpus = cpus_for_data(cluster, given, fewest)
    tasks = _data_tasks(data_cpus, data_task)
    _check_memory(started, given, tasks, cluster)
    _check_store(started, tasks, cluster)
    threads = _threads(demand.workers, given, cluster)
    data_cpus = round(data_cpus, 2)
    return Capacity(demand.workers, share, threads, gpu, data_cpus, fewest, data_task, demand.gpus_per_worker)


def best_share(demand: Demand, cluster: Cluster) -> float | None:
    """The CPUs that each of the workers gets: what was asked for, or the most up to one; None when they do not fit."""
    if demand.cpus_per_worker is not None:
        return demand.cpus_per_worker if _fits(demand, cluster, demand.cpus_per_worker) else None
    losses = [left for left in cluster.losses() if _goes_on(demand, left, LEAST_SHARE)]
    fitting = None
    for share in _shares(1.0):
        if _fits(demand, cluster, share):
            fitting = fitting or share
            if all(_goes_on(demand, left, share) for left in losses):
                return share
    return fitting


def most_workers(demand: Demand, cluster: Cluster) -> int:
    """The largest number of workers up to the demanded one that fits; 0 when none does."""
    fits, refused = 0, demand.workers + 1
    while refused - fits > 1:
        middle = (fits + refused) // 2
        if best_share(replace(demand, workers=middle), cluster) is None:
            refused = middle
        else:
            fits = middle
    return fits


def most_that_fits(demand: Demand, cluster: Cluster) -> str:
    """The largest settings that fit now, as "train.workers=1 or train.cpus_per_worker=0.5"; empty when none does."""
    settings = []
    workers = most_workers(demand, cluster)
    if workers:
        settings.append(f"train.workers={workers}")
    if demand.cpus_per_worker is not None:
        largest = min(demand.cpus_per_worker, max(machine.free.cpus for machine in cluster.for_workers.machines))
        share = next((share for share in _shares(largest) if _fits(demand, cluster, share)), None)
        if share is not None:
            settings.append(f"train.cpus_per_worker={share:g}")
    return " or ".join(settings)


def room_for_block(demand: Demand, given: Capacity, cluster: Cluster) -> float:
    """Bytes that a block of the stream may have before the stream fills its share of the object store."""
    tasks = _data_tasks(given.data_cpus, given.cpus_per_data_task)
    return STORE_SHARE * cluster.for_data.object_store_bytes / _blocks_kept(demand, tasks)


def worker_room(demand: Demand, share: float, cluster: Cluster) -> Room:
    """What one of the workers takes of its machine, at that share of the CPUs."""
    return Room(share, demand.gpus_per_worker if cluster.gpus else 0.0, WORKER_BYTES)


def gpu_places(demand: Demand, cluster: Cluster) -> int:
    """How many workers find the GPU, or the part of one, that they want; CPUs and memory aside."""
    return places(cluster, Room(0.0, demand.gpus_per_worker, 0.0))


def _shares(most: float) -> list[float]:
    """From the largest down to the least."""
    largest = math.floor((most + ROUNDING) * STEPS)
    return [part / STEPS for part in range(largest, math.ceil(LEAST_SHARE * STEPS) - 1, -1)]


def _fits(demand: Demand, cluster: Cluster, share: float) -> bool:
    """Whether all find room at the start, and the data keeps its part."""
    left = cpus_for_data(cluster, worker_room(demand, share, cluster), demand.workers)
    return left + ROUNDING >= DATA_CPUS * demand.streams and _goes_on(demand, cluster, share)


def _goes_on(demand: Demand, cluster: Cluster, share: float) -> bool:
    """Whether workers and data tasks find room on these machines, wherever Ray puts the workers."""
    if share + ROUNDING < LEAST_SHARE:
        return False
    each = worker_room(demand, share, cluster)
    if demand.streams == 1:
        return leaves_a_task(cluster, each, demand.workers, DATA_TASK_CPUS)
    tasks = tasks_beside(cluster, each, demand.workers, DATA_TASK_CPUS)
    return tasks is not None and tasks >= demand.streams


def _data_tasks(data_cpus: float, cpus_per_task: float) -> int:
    return max(int(data_cpus / cpus_per_task), 1)


def _threads(workers: int, each: Room, cluster: Cluster) -> int:
    """The threads of torch, so that a machine filled with workers has one for each of its CPUs."""
    counts = [
        machine.total.cpus // min(machine.total.takes(each), workers)
        for machine in cluster.for_workers.machines
        if machine.total.takes(each)
    ]
    return max(1, int(min(counts, default=1)))


def _blocks_kept(demand: Demand, tasks: int) -> int:
    """Blocks of the streams that are in the object store at most.

    A window of every lane that the workers read and one that waits; a block that each task makes and one it has made
    beyond that; two that each worker fetches ahead.
    """
    return 2 * (demand.streams * demand.lanes + tasks + demand.workers)


def _elastic_share(demand: Demand, cluster: Cluster, most: float) -> tuple[float, float]:
    """The CPUs of a worker and of a data task, so that no machine can be filled up with workers.

    Ray fills the machines that are left after a loss with as many workers as fit: one more than planned must not fit,
    and beside the planned ones a data task must.
    """
    if any(one.takes_data and not one.takes_workers and one.free.cpus >= DATA_TASK_CPUS for one in cluster.machines):
        return most, DATA_TASK_CPUS
    gpu = cluster.gpus > 0
    machines = [machine for machine in cluster.for_workers.machines if not gpu or machine.total.gpus]
    machines = [machine for machine in machines if machine.total.cpus >= LEAST_SHARE]  # a head without CPUs has none
    rooms, shared = ([one.total for one in machines], [one.total for one in machines if one.takes_data])
    if demand.cpus_per_worker is not None:
        shares = [demand.cpus_per_worker]
    elif gpu:
        shares = _shares(min(most, 1.0))
    else:
        cpus, planned = min(room.cpus for room in rooms), -(-demand.workers // len(rooms))
        shares = _shares(cpus / (planned + 1) + 1 / STEPS)
    left = {share: smallest_part(shared, worker_room(demand, share, cluster)) for share in shares}
    share = next((one for one in shares if left[one] >= DATA_TASK_CPUS / 2), max(shares, key=lambda one: left[one]))
    part = math.floor((min(left[share], 1.0) + ROUNDING) * STEPS) / STEPS
    if part < LEAST_SHARE:
        raise ClusterError(
            f"train.cpus_per_worker: workers of {share:g} CPU can fill a machine up, and the data would wait forever "
            f"when machines are lost: {described(cluster)}",
            "leave train.cpus_per_worker out, or choose one that leaves a part of a CPU on every machine",
        )
    return share, min(DATA_TASK_CPUS, part)


def _too_few_gpus(demand: Demand, cluster: Cluster) -> ClusterError:
    fitting = most_workers(demand, cluster)
    setting = f"set train.workers={fitting}" if fitting else ""
    wait = "wait for the others to finish" if gpu_places(demand, cluster.idle()) >= demand.workers else ""
    each = gpus_in_words(demand.gpus_per_worker)
    return ClusterError(
        f"train.workers: {demand.workers} workers want {each} each, but {cluster.free_gpus:g} of the "
        f"cluster's {cluster.gpus:g} are free: {described(cluster.for_workers)}",
        ", or ".join(filter(None, (setting, wait))) or "add GPUs",
    )


def _refused(demand: Demand, cluster: Cluster) -> ClusterError:
    """Why so many workers of that size do not fit, and what would."""
    share, idle = demand.cpus_per_worker or LEAST_SHARE, cluster.idle()
    number = f"{demand.workers} worker{'s' if demand.workers > 1 else ''}"
    each = worker_room(demand, share, cluster)
    needed = demand.workers * share + DATA_CPUS * demand.streams
    if cluster.is_divided:
        return _refused_there(demand, each, number, cluster)
    if best_share(demand, cluster.without_memory()) is not None:
        problem = (
            f"train.workers: {number} reserve {WORKER_BYTES / GIB:.1f} GiB of memory each, and "
            f"{places(cluster, each)} fit on the machines: {described(cluster)}"
        )
        return ClusterError(problem, _way_out(demand, cluster, could=best_share(demand, idle) is not None))
    if not places(idle.without_memory(), each):
        problem = f"train.cpus_per_worker: no machine has {share:g} CPUs for a worker"
    elif needed > cluster.free_cpus + ROUNDING:
        busy = cluster.cpus - cluster.free_cpus
        in_use = f" ({busy:g} of {cluster.cpus:g} are in use)" if busy > ROUNDING else ""
        problem = (
            f"train.workers: {number} at {share:g} CPU and {DATA_CPUS * demand.streams:g} CPU for data need "
            f"{needed:g} CPUs, but {cluster.free_cpus:g} are free{in_use}"
        )
    elif places(cluster, each) < demand.workers:
        problem = f"train.workers: of {number} at {share:g} CPU {places(cluster, each)} fit on the machines"
    else:
        problem = f"train.workers: {number} at {share:g} CPU leave no machine {DATA_TASK_CPUS:g} CPU for data"
    way_out = _way_out(demand, cluster, could=best_share(demand, idle) is not None)
    return ClusterError(f"{problem}: {described(cluster.without_memory())}", way_out)


def _refused_there(demand: Demand, each: Room, number: str, cluster: Cluster) -> ClusterError:
    """Like _refused, where some machines take workers or data alone."""
    for_data = f"{DATA_CPUS * demand.streams:g} CPU for data"
    if not _fits(replace(demand, workers=0), cluster, each.cpus):
        problem = f"data.nodes: {for_data}, {DATA_TASK_CPUS:g} of it on one node, is more than these have free"
        there = cluster.for_data
    elif places(cluster, each) < demand.workers:
        asked = f" at {demand.cpus_per_worker:g} CPU" if demand.cpus_per_worker else ""
        problem, there = f"train.workers: {number}{asked} do not fit on the nodes of train.nodes", cluster.for_workers
    else:
        problem = (
            f"train.workers: {number} at {each.cpus:g} CPU may leave less than {for_data} on the nodes of data.nodes"
        )
        there = cluster.for_data
    way_out = _way_out(demand, cluster, could=best_share(demand, cluster.idle()) is not None)
    return ClusterError(f"{problem}: {described(there)}", f"{way_out}, or name more nodes")


def _way_out(demand: Demand, cluster: Cluster, could: bool) -> str:
    """The largest settings that fit now; could: on idle machines the demand would."""
    most = most_that_fits(demand, cluster)
    ways = ["wait for the others to finish"] if could else []
    ways += [f"set {most}, the most that fits"] if most else []
    return ", or ".join(ways) or "add CPUs"


def _check_memory(demand: Demand, each: Room, tasks: int, cluster: Cluster) -> None:
    there, workers = cluster.for_data, workers_beside_data(cluster, each, demand.workers)
    needed = workers * WORKER_BYTES + tasks * DATA_TASK_BYTES
    if needed > there.memory_bytes:
        those = f"train.workers: {workers} workers and" if workers else "data.nodes:"
        raise ClusterError(
            f"{those} {tasks} data tasks take about {needed / GIB:.1f} GiB of memory, but {_has(cluster)} "
            f"{there.memory_bytes / GIB:.1f}",
            f"{'lower train.workers' if workers else 'name more nodes'}, or add memory",
        )


def _check_store(demand: Demand, tasks: int, cluster: Cluster) -> None:
    blocks = _blocks_kept(demand, tasks) * demand.block_bytes
    room = cluster.for_data.object_store_bytes
    if blocks > room:
        raise ClusterError(
            f"the stream keeps about {blocks / GIB:.1f} GiB of images in Ray's object store, but {_has(cluster)} "
            f"{room / GIB:.1f}",
            "lower image_size or train.workers, or give Ray a larger object store",
        )


def _has(cluster: Cluster) -> str:
    return "the nodes of data.nodes have" if cluster.is_divided else "the cluster has"
