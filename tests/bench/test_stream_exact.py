"""The whole table of what Ray Train workers are given: worlds 1, 2 and 4, five kills, a change to 3, three nodes."""

import hashlib
import random
from pathlib import Path

import pytest
import ray
import ray.cloudpickle
from small_cluster import three_nodes

from rayox_cluster.local import ray_session
from rayox_model.core.plan import StreamPlan
from rayox_platform.data.resolve import resolve_split

SIZE = (160, 160)
QUIET = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_ENABLE_PRINT_PATCH": "0", "OMP_NUM_THREADS": "1"}


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_every_world_gets_the_same_samples(shared_data, tmp_path, monkeypatch):
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent)
    import stream_exact

    ray.cloudpickle.register_pickle_by_value(stream_exact)
    coco = shared_data / "coco_dev"
    annotations = next((coco / "annotations").glob("*train*.json"))
    _, images = resolve_split(str(annotations), str(coco / "train2017"), tmp_path)
    plan = StreamPlan(
        num_images=len(images), batch_size=16, lanes=8, epochs=3, seed=3, closing_epochs=1, window_steps=3
    )
    whole = stream_exact.expected(images, plan, SIZE)
    rows = [("one process, no Ray", whole)]
    rng = random.Random(5)
    with ray_session(None, num_cpus=2, worker_environment={"OMP_NUM_THREADS": "1"}):
        for world_size in (1, 2, 4):
            rows.append(
                (
                    f"world {world_size}",
                    stream_exact.observed(tmp_path / f"w{world_size}", images, plan, SIZE, world_size),
                )
            )
        kill_at = tuple(sorted(rng.sample(range(plan.num_steps - 1), 5)))
        killed = stream_exact.observed(tmp_path / "killed", images, plan, SIZE, 2, kill_at)
        rows.append((f"world 2, killed at {', '.join(map(str, kill_at))}", killed))
        first = rng.randrange(1, plan.num_steps)
        grown = StreamPlan(**(vars(plan) | {"start_step": first}))
        later = stream_exact.observed(tmp_path / "later", images, grown, SIZE, 3)
        rows.append((f"world 2 to step {first}, then 3", {k: v for k, v in killed.items() if k[0] < first} | later))
    with three_nodes(num_cpus=1, object_store_memory=300 * 2**20):
        rows.append(("three nodes, world 4", stream_exact.observed(tmp_path / "nodes", images, plan, SIZE, 4)))
    print()
    for name, found in rows:
        digest = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]
        firsts = " ".join(found[0, lane][:6] for lane in range(4))
        print(f"{name:40s} {len(found):5d} blocks of samples  {firsts} …  {digest}")
    assert all(found == whole for _, found in rows)
