"""A stream that stands still says why: Ray itself waits forever, and silently, for a CPU, a node or memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import ray
import ray.util
import requests
from ray.exceptions import RpcError
from ray.util.state import list_actors, list_tasks
from ray.util.state.exception import RayStateApiException

from rayox_model.core.errors import ClusterError
from rayox_platform.ray_internals.cluster_state import free_resources, object_stores
from rayox_platform.resources.demand import DATA_TASK_CPUS

T = TypeVar("T")
FULL = 0.9  # of the object stores' bytes: from here on Ray holds tasks back or spills to disk


@dataclass(frozen=True)
class Patience:
    """How long a worker waits for its next block: until it reports why, again after as long, and until it gives up.

    Nodes that were lost before the run came have no part in that.
    """

    report_seconds: float = 60.0
    give_up_seconds: float = 1800.0
    lost_before: frozenset[str] = frozenset()  # their ids


PATIENT = Patience()


def watched(blocks: Iterator[T], patience: Patience, report: Callable[[str], None]) -> Iterator[T]:
    """The same blocks, the first of which is asked for at once, while the caller has other things to do.

    report gets the cause of a long wait. Raises ClusterError with it when patience ends.
    """
    wanted: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    Thread(target=_answer, args=(blocks, wanted, answers), name="rayox-blocks", daemon=True).start()
    wanted.put(True)
    return _taken(wanted, answers, patience, report)


def _taken(
    wanted: SimpleQueue[bool],
    answers: SimpleQueue[tuple[T | None, BaseException | None]],
    patience: Patience,
    report: Callable[[str], None],
) -> Iterator[T]:
    try:
        while True:
            block, failure = _wait(answers, patience, report)
            if isinstance(failure, StopIteration):
                return
            if failure:
                raise failure
            assert block is not None
            yield block
            wanted.put(True)
    finally:
        wanted.put(False)


def _answer(
    blocks: Iterator[T], wanted: SimpleQueue[bool], answers: SimpleQueue[tuple[T | None, BaseException | None]]
) -> None:
    while wanted.get():
        try:
            answers.put((next(blocks), None))
        except BaseException as failure:  # noqa: BLE001  # raised again where the block was wanted
            answers.put((None, failure))
            return


def _wait(
    answers: SimpleQueue[tuple[T | None, BaseException | None]], patience: Patience, report: Callable[[str], None]
) -> tuple[T | None, BaseException | None]:
    waited = 0.0
    while True:
        try:
            return answers.get(timeout=patience.report_seconds)
        except Empty:
            waited += patience.report_seconds
        message = f"no training data for {waited:.0f} s: {explain_stall(patience.lost_before)}"
        if waited >= patience.give_up_seconds:
            raise ClusterError(message, "mend that, then continue the run with --resume auto")
        report(message)


def explain_stall(lost_before: frozenset[str] = frozenset()) -> str:
    """Why data tasks may stand still, from what the connected cluster says of itself; for a person to read."""
    causes = [*_lost_since(lost_before), *_no_cpu(), *_full_stores(), *_failed_tasks()]
    return "; ".join(causes) or (
        f"the cause is not in the cluster's state ({_shares()}): a task may be slow to read its images"
    )


def _shares() -> str:
    total, free = ray.cluster_resources(), ray.available_resources()
    return f"{free.get('CPU', 0):g} of {total.get('CPU', 0):g} CPUs free"


def lost_nodes() -> frozenset[str]:
    """The ids of nodes that the connected cluster once had."""
    return frozenset(node["NodeID"] for node in ray.nodes() if not node["Alive"])


def _lost_since(before: frozenset[str]) -> list[str]:
    lost = [node for node in ray.nodes() if not node["Alive"] and node["NodeID"] not in before]
    return [f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]}) is gone" for node in lost]


def _no_cpu() -> list[str]:
    """A data task wants its share of a CPU on one node."""
    if any(free.get("CPU", 0.0) >= DATA_TASK_CPUS for free in free_resources().values()):
        return []
    holders = [*_placement_groups(), *_actors()]
    held = f"; held by {', '.join(holders)}" if holders else ""
    return [f"no node has a CPU free for data tasks ({_shares()}{held})"]


def _placement_groups() -> list[str]:
    groups = [group for group in ray.util.placement_group_table().values() if group["state"] == "CREATED"]
    cpus = sum(bundle.get("CPU", 0) for group in groups for bundle in group["bundles"].values())
    return [f"{len(groups)} placement group(s) of Ray Train or Tune with {cpus:g} CPUs"] if cpus else []


def _actors() -> list[str]:
    alive = _listed(list_actors, [("state", "=", "ALIVE")])
    cpus = Counter[str]()
    for actor in alive:
        if not actor.placement_group_id:
            cpus[actor.class_name] += (actor.required_resources or {}).get("CPU", 0)
    return [f"actors of {name} with {count:g} CPUs" for name, count in cpus.most_common(5) if count]


def _failed_tasks() -> list[str]:
    failed = _listed(list_tasks, [("state", "=", "FAILED"), ("type", "=", "NORMAL_TASK")])
    if not failed:
        return []
    last = max(failed, key=lambda task: task.end_time_ms or 0)
    reason = (last.error_message or last.error_type or "no reason known").strip().splitlines()[-1]
    return [f"{len(failed)} task(s) failed and are tried again, last {last.name}: {reason}"]


def _listed(query: Callable[..., list[Any]], filters: list[tuple[str, str, str]]) -> list[Any]:
    """Empty where the cluster has no dashboard, which is what answers."""
    address = ray.get_runtime_context().gcs_address  # this cluster's: another one may run on the same machine
    try:
        return query(address=address, filters=filters, detail=True, timeout=5, raise_on_missing_output=False)
    except (RayStateApiException, RpcError, ConnectionError, requests.RequestException):
        return []


def _full_stores() -> list[str]:
    stores = object_stores()
    used = stores.used / max(stores.available, 1) if stores else 0.0
    if stores is None or used < FULL:
        return []
    return [f"the object stores are {used:.0%} full ({stores.available / 2**30:.1f} GiB in all)"]
