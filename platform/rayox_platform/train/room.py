"""Workers that wait for room on the cluster: told after half a minute, with what would fit."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import ray
from ray.exceptions import RayError

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.capacity import most_that_fits
from rayox_platform.resources.connected import connected_cluster
from rayox_platform.resources.demand import Capacity, Demand
from rayox_platform.resources.machines import Cluster, described
from rayox_platform.resources.node_labels import divided, selector
from rayox_platform.runs.event_kinds import Note
from rayox_platform.train.job import TrainJob

WAIT_SECONDS = 30.0
LOOK_SECONDS = 1.0
WAITING = ("PENDING", "RESCHEDULING")  # of a placement group, in Ray's words


@contextmanager
def told_of_waiting(job: TrainJob, given: Capacity, is_started: Callable[[], bool]) -> Iterator[None]:
    """Write it to the run's events when workers have found no room for WAIT_SECONDS, at each of their starts."""
    over = Event()
    thread = Thread(target=_look, args=(job, given, is_started, over), name="rayox-room", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def what_would_fit(job: TrainJob, cluster: Cluster) -> str:
    """Settings that fit on these machines now, in words."""
    train = job.config.train
    cpus = None if train.cpus_per_worker == "auto" else train.cpus_per_worker
    fewest, most_wanted = train.workers
    demand = Demand(most_wanted, cpus, 0, job.plan.lanes, fewest, gpus_per_worker=train.gpus_per_worker)
    most = most_that_fits(demand, cluster)
    return f"{most} would fit now" if most else "no worker fits now beside its data"


def _look(job: TrainJob, given: Capacity, is_started: Callable[[], bool], over: Event) -> None:
    since, told = time.monotonic(), False
    while not over.wait(LOOK_SECONDS):
        if is_started():
            since, told = time.monotonic(), False
        elif not told and time.monotonic() - since > WAIT_SECONDS:
            with suppress(OSError, RayError):  # the store or the head is away, which the workers will tell
                if _waits(given, ray.util.placement_group_table()):
                    job.home.events.tell(Note(text=_said(job, given)))
                    told = True


def _waits(given: Capacity, groups: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a reservation of such workers waits; the table has those of everybody on the cluster."""
    return any(
        group["state"] in WAITING and all(dict(bundle) == given.reserved for bundle in group["bundles"].values())
        for group in groups.values()
    )


def _said(job: TrainJob, given: Capacity) -> str:
    waited = f"no room for {WAIT_SECONDS:.0f} s: {given} wait for machines to come back or for others to finish"
    try:
        nodes = selector(job.config.train.nodes), selector(job.config.data.nodes)
        cluster = divided(connected_cluster(), *nodes)
    except ClusterError as error:  # all nodes with these labels are lost
        return f"{waited}; {error.message}"
    return f"{waited}; {described(cluster.for_workers)}; {what_would_fit(job, cluster)}"
