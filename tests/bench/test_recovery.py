"""From a fault to the next step: rayox against Ray Train's defaults; a killed worker, a lost node, in one session."""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
from small_cluster import three_nodes
from toy_runs import toy_config, train

from rayox_cluster.local import RAY_SETTINGS, ray_session
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.runs.event_kinds import Failure, Progress, Start, StepEvent
from rayox_platform.runs.events import read_events

NODE = {"num_cpus": 2, "object_store_memory": 300 * 2**20}
OURS = RAY_SETTINGS | {"RAY_health_check_period_ms": "1000"}
COMMON = {"RAY_raylet_start_wait_time_s": "120", "RAY_TRAIN_ENABLE_PRINT_PATCH": "0", "OMP_NUM_THREADS": "1"}
RUNNING_SECONDS = 45.0  # from the first step to the fault: as in a real run, whoever prepares for it has had the time
PARTS = ("detection", "reservation and process start", "import and group", "model", "first batch and step")


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def naive_seconds(folder: Path, fault: Callable[[int], None], workers: Any, cpus: float) -> float:
    """From the fault, given rank 0's process, to the first step that any rank takes after a new start."""
    import naive_train

    folder.mkdir()
    path = folder / "steps-0.jsonl"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(naive_train.run, folder, workers, cpus, 700)
        wait_for(lambda: any("step" in line and time.time() - line["time"] > RUNNING_SECONDS for line in lines(path)))
        struck = time.time()
        fault(lines(path)[0]["pid"])
        running.result()
    starts = [line["time"] for line in lines(path) if "start" in line and line["time"] > struck]
    return min(line["time"] for line in lines(path) if "step" in line and line["time"] > starts[0]) - struck


def our_seconds(folder: Path, data: Path, fault: Callable[[int], None], workers: Any) -> list[float]:
    """The same for rayox, by part."""
    config = toy_config(
        data,
        folder,
        "run",
        every_steps=5,
        workers=workers,
        epochs=80,
        evaluate_every=1000,
    )
    run = folder / "run"
    struck = 0.0

    def strike() -> None:
        nonlocal struck
        wait_for(
            lambda: any(e.time < time.time() - RUNNING_SECONDS for e in read_events(run) if isinstance(e, StepEvent))
        )
        (start,) = (event for event in read_events(run) if isinstance(event, Start))
        struck = time.time()
        fault(start.pid)

    with ThreadPoolExecutor(1) as pool:
        struck_by = pool.submit(strike)
        train(config, lambda event: None)
        struck_by.result()
    events = [event for event in read_events(run) if event.time > struck]
    failure = next(event for event in events if isinstance(event, Failure))
    start = next(event for event in events if isinstance(event, Start))
    first = next(event for event in events if isinstance(event, Progress) and event.time > start.time)
    moments = [
        struck,
        failure.time,
        max(start.born, failure.time),
        start.began,
        start.time,
        first.time,
    ]
    return [after - before for before, after in itertools.pairwise(moments)]


def told(name: str, naive: float, parts: list[float]) -> float:
    ours = sum(parts)
    listed = ", ".join(f"{part} {seconds:.1f}" for part, seconds in zip(PARTS, parts, strict=True))
    print(f"\n{name}: naive {naive:.1f} s, rayox {ours:.1f} s = {ours / naive:.2f} of it ({listed})")
    return ours / naive


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent)
    import naive_train

    ray.cloudpickle.register_pickle_by_value(naive_train)
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    for name, value in COMMON.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.bench
@pytest.mark.timeout(1500)
def test_a_killed_worker(settings, toy_data, tmp_path):
    with three_nodes(**NODE):
        naive = naive_seconds(tmp_path / "naive", kill, 2, 1)
    with ray_session(None, num_cpus=2, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported()):
        parts = our_seconds(tmp_path / "ours", toy_data, kill, 2)
    assert told("worker killed", naive, parts) <= 0.6


@pytest.mark.bench
@pytest.mark.timeout(1500)
def test_a_lost_node(settings, toy_data, tmp_path):
    with three_nodes(**NODE) as cluster:
        naive = naive_seconds(tmp_path / "naive", lambda pid: remove_one(cluster), (1, 3), 1.01)
    for name, value in OURS.items():
        settings.setenv(name, value)
    with three_nodes(**NODE) as cluster:
        parts = our_seconds(tmp_path / "ours", toy_data, lambda pid: remove_one(cluster), [1, 3])
    assert told("node lost", naive, parts) <= 0.6


def remove_one(cluster: Any) -> None:
    cluster.remove_node(sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0], allow_graceful=False)
