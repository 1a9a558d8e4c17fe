"""AP with mosaic partners from the lane's window against partners from the whole data set: shapes, paired seeds."""

import os

import pytest
from paired import mean_difference, shapes_metrics

from rayox_cluster.local import ray_session
from rayox_platform.ray_internals.first_call import ray_imported

LARGEST_LOSS = 0.02  # AP that a third of the decoding may cost


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_partners_from_the_window_cost_little_ap(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))

    def metrics(partners, seed):
        return shapes_metrics(tmp_path, seed, f"augment.partners={partners}")

    with ray_session(
        None,
        num_cpus=os.cpu_count(),
        worker_environment={"OMP_NUM_THREADS": "1"},
        local_environment=ray_imported(),
    ):
        assert mean_difference(metrics, "window", "dataset") >= -LARGEST_LOSS
