"""AP with mosaic partners from the lane's window against partners from the whole data set: shapes, paired seeds."""

import os
from statistics import mean

import pytest
from scipy.stats import t
from toy_runs import train

from rayox.config import RECIPES
from rayox_cluster.local import ray_session
from rayox_platform.config import load_config
from rayox_platform.imports import IMPORT_RAY

SEEDS = (0, 1, 2)
SHORTER = ("train.epochs=10", "train.closing_epochs=3", "train.evaluate_every=10")
LARGEST_LOSS = 0.02  # AP that a third of the decoding may cost


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_partners_from_the_window_cost_little_ap(tmp_path, monkeypatch):
    """Ten epochs of the demo's recipe, three times each; evaluated on its 500 validation images."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    differences = []
    with ray_session(None, num_cpus=os.cpu_count(), worker_environment={"OMP_NUM_THREADS": "1"}, first_call=IMPORT_RAY):
        for seed in SEEDS:
            found = {partners: metrics(tmp_path, partners, seed) for partners in ("dataset", "window")}
            differences.append(found["window"]["AP"] - found["dataset"]["AP"])
            print(f"\nseed {seed}:", {name: f"AP {of['AP']:.4f} AP50 {of['AP50']:.4f}" for name, of in found.items()})
    mid = mean(differences)
    spread = (sum((one - mid) ** 2 for one in differences) / (len(differences) - 1) / len(differences)) ** 0.5
    low, high = t.interval(0.95, len(differences) - 1, loc=mid, scale=spread)
    print(f"window - dataset: AP {mid:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}] of {len(SEEDS)} paired seeds")
    assert mid >= -LARGEST_LOSS


def metrics(folder, partners, seed):
    name = f"{partners}-{seed}"
    wanted = [f"augment.partners={partners}", f"train.seed={seed}", f"storage={folder}", f"name={name}"]
    config = load_config("shapes", [*wanted, *SHORTER], packaged=RECIPES, environ={}).config
    return train(config, lambda event: None).metrics
