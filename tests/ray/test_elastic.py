"""An elastic run on a local cluster of three nodes: one is killed in the middle of an epoch, later one joins."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import patient, wait_until
from ray.cluster_utils import Cluster
from small_cluster import three_nodes
from toy_runs import starts, toy_config, train

from rayox_cluster.local import RAY_SETTINGS
from rayox_platform.runs.event_kinds import Checkpoint, Epoch, Progress, Urgent
from rayox_platform.runs.events import read_events

pytestmark = [pytest.mark.ray, pytest.mark.faults]
NODE = {"num_cpus": 2, "object_store_memory": 300 * 2**20}
SETTINGS = RAY_SETTINGS | {"RAY_health_check_period_ms": "1000", "OMP_NUM_THREADS": "1"}
EVERY_STEPS = 5


@pytest.mark.timeout(900)
def test_a_lost_node_costs_a_few_steps_and_a_new_one_is_used(toy_data, tmp_path, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    config = toy_config(
        toy_data,
        tmp_path,
        "elastic",
        every_steps=EVERY_STEPS,
        workers=[1, 3],
        epochs=int(os.environ.get("RAYOX_TEST_EPOCHS", "150")),
        evaluate_every=1000,
        resize_seconds=15,
    )
    run = tmp_path / "elastic"
    killed_at = 0.0

    def steps() -> int:
        done = [event.step for event in read_events(run) if isinstance(event, Progress | Epoch)]
        return max(done, default=0)

    def disturb(cluster: Cluster) -> None:
        nonlocal killed_at
        wait_until(lambda: steps() >= 20, 200)
        killed_at = time.time()
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        wait_until(lambda: len(starts(run)) > 1, 200)
        before = steps()
        wait_until(lambda: steps() >= before + 20, 200)
        cluster.add_node(**NODE)
        wait_until(lambda: starts(run)[-1].workers == 3, 300)

    with three_nodes(**NODE) as cluster, ThreadPoolExecutor(1) as pool:
        training = pool.submit(train, config, lambda event: None)
        disturb(cluster)  # in the main thread: a node that is added sets signal handlers
        finished = training.result()
    began = starts(run)
    events = read_events(run)
    last = max(e.step for e in events if isinstance(e, Progress | Epoch) and e.time < killed_at)
    first = next(e for e in events if isinstance(e, Progress) and e.time > began[1].time)
    print(f"workers {[event.workers for event in began]}, started at steps {[event.step for event in began]}")
    repeated, seconds = last - began[1].step, first.time - killed_at
    print(f"node killed after step {last}: {repeated} steps repeated, the next step {seconds:.1f} s later")
    assert [event.workers for event in began][:2] == [3, 2]
    assert began[-1].workers == 3
    assert repeated <= EVERY_STEPS
    assert finished.steps == 3 * config.train.epochs


@pytest.mark.timeout(600)
def test_a_machine_that_will_be_taken_away_is_saved_from_first(toy_data, tmp_path, monkeypatch):
    """Ray's own notice, as a cloud's spot machine or an operator gives it: `ray drain-node` with a deadline."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    config = toy_config(toy_data, tmp_path, "drained", workers=[1, 3], epochs=60, evaluate_every=1000)
    run = tmp_path / "drained"

    def events(kind):
        return [event for event in read_events(run) if isinstance(event, kind)]

    with three_nodes(**NODE) as cluster, ThreadPoolExecutor(1) as pool:
        training = pool.submit(train, config, lambda event: None)
        wait_until(lambda: any(event.step > 5 for event in events(Progress)), 200)
        node = sorted(cluster.worker_nodes, key=lambda one: one.node_id)[0].node_id
        drain = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address]
        drain += ["--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        noticed_from = time.time()
        subprocess.run(
            [*drain, "--deadline-remaining-seconds", "25"], check=True, capture_output=True, timeout=patient(60)
        )
        wait_until(lambda: events(Urgent), 20)
        (urgent,) = events(Urgent)
        finished = training.result()
    saved = next(event for event in events(Checkpoint) if event.step == urgent.step)
    seconds = urgent.time - noticed_from
    print(f"saved at step {urgent.step}, {seconds:.1f} s after the notice was given; starts {starts(run)}")
    assert f"node {node[:8]} is being taken away in " in urgent.text
    assert noticed_from < saved.time <= urgent.time < noticed_from + 25
    assert finished.steps == 3 * config.train.epochs
