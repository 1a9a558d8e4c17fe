"""Real Ray Train workers get exactly the samples that one process makes alone, also after a worker was killed.

The whole table, with more worlds, three nodes and five kills, is printed by tests/bench/test_stream_exact.py.
"""

import random
import sys
from pathlib import Path

import pytest
import ray.cloudpickle

from rayox_model.core.plan import StreamPlan
from rayox_platform.data.resolve import resolve_split

pytestmark = [pytest.mark.ray, pytest.mark.faults]
BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def stream_exact(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import stream_exact

    ray.cloudpickle.register_pickle_by_value(stream_exact)  # no worker has tests/bench on its path
    yield stream_exact
    ray.cloudpickle.unregister_pickle_by_value(stream_exact)
    del sys.modules["stream_exact"]


def test_train_workers_get_the_planned_samples_also_after_a_kill(
    cluster, stream_exact, toy_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    plan = StreamPlan(
        num_images=20, batch_size=8, lanes=8, epochs=4, seed=7, closing_epochs=1, start_step=1, window_steps=2
    )
    kill_at = random.Random(11).randrange(2, plan.num_steps - 1)
    whole = stream_exact.expected(images, plan, (64, 64))
    assert len(set(whole.values())) == len(whole) == 8 * (plan.num_steps - 1)
    assert stream_exact.observed(tmp_path / "run", images, plan, (64, 64), world_size=3, kill_at=(kill_at,)) == whole
