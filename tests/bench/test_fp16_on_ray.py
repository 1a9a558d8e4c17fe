"""`rayox train finetune` in fp16 on real photos, as a user runs it on Ray: AP beside fp32's, with 1 and 2 workers.

`pytest -m faults tests/bench/test_fp16_on_ray.py -s` prints the rows of the table in README.md.
"""

import os
from pathlib import Path

import pytest
from half_units import INSTALL
from test_modes import LARGEST_LOSS, LEAST_AP, MOST_SKIPPED, blood_cells
from toy_runs import train

from rayox.config import RECIPES
from rayox_cluster.local import ray_session
from rayox_platform.config import load_config
from rayox_platform.ray_internals import prestart
from rayox_platform.ray_internals.first_call import ray_imported

SHORTER = ("image_size=160", "train.epochs=6", "train.evaluate_every=6", "train.spares=false")


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_fp16_reaches_the_ap_of_fp32(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(prestart, "IMPORT_ALL", INSTALL)
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}

    def trained(optimizer, workers, precision):
        settings = (f"train.optimizer={optimizer}", f"train.workers={workers}", f"train.precision={precision}")
        named = (f"storage={tmp_path}", f"name={optimizer}-{workers}-{precision}")
        wanted = (*blood_cells(shared_data), *SHORTER, *settings, *named)
        return train(load_config("finetune", wanted, packaged=RECIPES, environ={}).config, lambda event: None)

    with ray_session(None, num_cpus=os.cpu_count(), worker_environment=environment, local_environment=ray_imported()):
        for optimizer in ("sgd", "adamw"):
            for workers in (1, 2):
                half, whole = (trained(optimizer, workers, precision) for precision in ("fp16", "fp32"))
                found, wanted = half.metrics["AP"], whole.metrics["AP"]
                print(f"\n| {optimizer} | {workers} | {found:.3f} | {wanted:.3f} | {half.skipped_steps} |", flush=True)
                assert wanted > LEAST_AP
                assert found > wanted - LARGEST_LOSS
                assert 1 <= half.skipped_steps <= MOST_SKIPPED
                assert whole.skipped_steps == 0
