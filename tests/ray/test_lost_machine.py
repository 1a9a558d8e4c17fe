"""A machine with workers is lost, its raylet by SIGKILL: the data keeps its share, or the run says what is missing."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import ray
from patience import patient, wait_until
from ray.cluster_utils import Cluster
from small_cluster import kill_raylet, nodes
from toy_runs import toy_config, train

from rayox_cluster.local import RAY_SETTINGS
from rayox_model.core.errors import ClusterError
from rayox_platform.resources.data_room import share_for_data
from rayox_platform.runs.event_kinds import Epoch, Note, Progress, RunEvent, Stall, Start
from rayox_platform.runs.events import read_events
from rayox_platform.stream.stall import explain_stall, lost_nodes
from rayox_platform.train import room

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]
NODE = {"num_cpus": 2, "object_store_memory": 200 * 2**20}
SETTINGS = RAY_SETTINGS | {"RAY_health_check_period_ms": "1000", "OMP_NUM_THREADS": "1"}


def head_and(count: int) -> AbstractContextManager[Cluster]:
    """A head without CPUs, which outlives all, and machines of two CPUs that can be lost."""
    return nodes({"num_cpus": 0, "object_store_memory": 10**8}, *[NODE] * count)


def steps(run: Path) -> int:
    return max((event.step for event in read_events(run) if isinstance(event, Progress | Epoch)), default=0)


def wait_for(condition: Any, training: "Future[Any]") -> None:
    def happened() -> bool:
        assert not training.done(), training.result()
        return bool(condition())

    wait_until(happened, 600, "nothing happened")


def node_with_workers(cluster: Cluster) -> str:
    """That which has bundles of the placement group."""
    groups = [group for group in ray.util.placement_group_table().values() if group["state"] == "CREATED"]
    return str(next(iter(groups[-1]["bundles_to_node_id"].values()))) if groups else ""


@pytest.fixture
def run_on(toy_data, tmp_path, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))

    def run(machines: int, **settings: Any) -> tuple[Any, list[RunEvent]]:
        config = toy_config(toy_data, tmp_path, "lost", every_steps=5, evaluate_every=1000, epochs=30, **settings)
        folder = tmp_path / "lost"
        with head_and(machines) as cluster, ThreadPoolExecutor(1) as pool:
            training = pool.submit(train, config, lambda event: None)
            try:
                wait_for(lambda: steps(folder) >= 10, training)
                kill_raylet(cluster, node_with_workers(cluster))
            except BaseException:
                ray.shutdown()  # else the pool waits for the training
                raise
            try:
                return training.result(timeout=patient(500)), read_events(folder)
            except ClusterError as error:
                return error, read_events(folder)

    return run


def test_workers_that_move_together_leave_the_data_its_share(run_on):
    """Two machines of two CPUs; both workers end on the one that is left."""
    finished, events = run_on(2)
    assert finished.steps == 90
    assert len([event for event in events if isinstance(event, Start)]) == 2
    assert [event for event in events if isinstance(event, Stall)] == []


def test_large_workers_that_leave_half_a_cpu_have_it_used(run_on):
    """Three machines of two CPUs, workers of 1.5: after the loss each machine has half a CPU, less than a data task."""
    finished, events = run_on(3, cpus_per_worker=1.5)
    assert finished.steps == 90
    assert [event for event in events if isinstance(event, Stall)] == []


def test_workers_that_take_every_cpu_end_the_run_with_what_is_missing(run_on):
    error, events = run_on(2, cpus_per_worker=1.0)
    assert isinstance(error, ClusterError)
    assert "no machine has a part of a CPU left for data beside the workers" in error.message
    assert "has 2 CPUs (0 free)" in error.message
    assert "fewer train.workers" in error.hint
    assert [event for event in events if isinstance(event, Stall)] == []


def test_workers_that_fit_nowhere_any_more_end_the_run_with_what_is_missing(run_on, monkeypatch):
    monkeypatch.setattr(room, "WAIT_SECONDS", 5.0)
    error, events = run_on(2, cpus_per_worker=1.2, timeout_seconds=30)
    assert isinstance(error, ClusterError)
    (waits,) = [event.text for event in events if isinstance(event, Note)]
    assert waits.startswith("no room for 5 s: 2 workers with 1.2 CPU each, 1.6 CPU for data wait for machines")
    assert "train.cpus_per_worker=0.5 would fit now" in waits
    assert "train.cpus_per_worker=0.5 would fit now" in error.hint
    assert "2 workers with 1.2 CPU each, 1.6 CPU for data have found no room for 30 s" in error.message
    assert "have 2 CPUs" in error.message or "has 2 CPUs" in error.message
    assert "--resume lost" in error.hint


def test_the_share_of_the_data_is_what_the_workers_leave_on_machines_that_live(monkeypatch):
    """Two machines of two CPUs. Bundles of 0.75 move to the one that is left: half a CPU; of 1: nothing."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with head_and(2) as cluster:
        groups = [ray.util.placement_group([{"CPU": 0.75}] * 2, strategy="STRICT_PACK")]
        ray.get(groups[0].ready(), timeout=patient(100))
        assert share_for_data(0.66) == 0.66, "the other machine is free"
        lost = node_with_workers(cluster)
        kill_raylet(cluster, lost)
        wait_until(lambda: node_with_workers(cluster) not in ("", lost), 100, "Ray has not moved them")
        assert share_for_data(0.66) == 0.5
        ray.util.remove_placement_group(groups[0])
        assert share_for_data(0.66) == 0.66
        groups.append(ray.util.placement_group([{"CPU": 1.0}] * 2, strategy="STRICT_PACK"))
        ray.get(groups[1].ready(), timeout=patient(100))
        with pytest.raises(
            ClusterError, match=r"no machine has a part of a CPU left for data .* has 2 CPUs \(0 free\)"
        ):
            share_for_data(0.66)


def test_a_node_that_was_lost_before_is_no_cause_of_a_stall(monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with head_and(2) as cluster:
        first, second = list(cluster.worker_nodes)
        kill_raylet(cluster, first.node_id)
        wait_until(lost_nodes)
        before = lost_nodes()
        assert before == {first.node_id}
        assert "is gone" not in explain_stall(before)
        kill_raylet(cluster, second.node_id)
        wait_until(lambda: lost_nodes() != before)
        assert f"({second.node_id[:8]}) is gone" in explain_stall(before)
        assert first.node_id[:8] not in explain_stall(before)
