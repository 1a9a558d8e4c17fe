"""AP of a training in bfloat16 against fp32: shapes, paired seeds; its arithmetic alone on a CPU without bfloat16."""

import os
from pathlib import Path

import pytest
import torch
from half_units import INSTALL, half_convolution, has_units
from paired import mean_difference, shapes_metrics

from rayox_cluster.local import ray_session
from rayox_platform.ray_internals import prestart
from rayox_platform.ray_internals.first_call import ray_imported

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
LARGEST_LOSS = 0.02
HALF_A_DIGIT = {torch.bfloat16: 2**-8, torch.float16: 2**-11}  # whose significands have 8 and 11 bits


@pytest.mark.parametrize("dtype", HALF_A_DIGIT)
@pytest.mark.parametrize("groups", [1, 16])
def test_a_rounded_convolution_is_torchs_own_in_half_precision(groups, dtype):
    torch.manual_seed(0)
    features, weight = torch.randn(2, 16, 12, 10), torch.randn(16, 16 // groups, 3, 3)
    results = []
    for convolve in (half_convolution, torch.conv2d):
        leaves = [one.clone().requires_grad_() for one in (features, weight)]
        out = convolve(*(one.to(dtype) for one in leaves), None, (2, 2), (1, 1), (1, 1), groups)
        assert out.dtype is dtype
        out.square().sum().backward()
        results.append([out, *(one.grad for one in leaves)])
    for ours, torchs in zip(*results, strict=True):
        assert (ours - torchs).abs().max() <= 2 * HALF_A_DIGIT[dtype] * torchs.abs().max()


def test_bfloat16_costs_little_ap(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(prestart, "IMPORT_ALL", INSTALL)
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}

    def metrics(precision, seed):
        return shapes_metrics(tmp_path, seed, f"train.precision={precision}")

    print("\nbfloat16 in hardware" if has_units(torch.bfloat16) else "\nbfloat16's arithmetic in fp32 units")
    with ray_session(None, num_cpus=os.cpu_count(), worker_environment=environment, local_environment=ray_imported()):
        assert mean_difference(metrics, "bf16", "fp32") >= -LARGEST_LOSS
