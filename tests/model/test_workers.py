"""Two real workers with unequal shares of a batch (5 + 3 images, over gloo) against one process with the whole."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import patient

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("workers.py")
SIZES = ((0, 1), (0, 2), (1, 2))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the one process and both workers found, by (rank, number of workers)."""
    folder = tmp_path_factory.mktemp("workers")
    started = {
        size: subprocess.Popen([sys.executable, SCRIPT, *map(str, size), folder], stderr=subprocess.PIPE)
        for size in SIZES
    }
    for size, process in started.items():
        _, said = process.communicate(timeout=patient(240))
        assert process.returncode == 0, f"{size}: {said.decode()}"
    return {(rank, of): torch.load(folder / f"{rank}-of-{of}.pt") for rank, of in SIZES}


def difference(one, other):
    """How far the whole gradients differ, relative to its length."""
    names = [name for name in one if name.endswith(("weight", "bias"))]
    assert names
    apart = torch.stack([(one[name] - other[name]).norm() for name in names]).norm()
    return float(apart / torch.stack([one[name].norm() for name in names]).norm())


@pytest.mark.parametrize("case", ["step", "accumulated", "frozen_part"])
@pytest.mark.parametrize("rank", [0, 1])
def test_divided_by_all_positives_unequal_shares_give_the_gradient_of_the_whole_batch(results, case, rank):
    one, two = results[0, 1][case], results[rank, 2][case]
    assert one.keys() == two.keys()
    assert difference(one, two) < 1e-6
    for name in ("total", "norm"):
        assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-6)
    for name in ("positives", "boxes"):
        assert float(two[name]) == float(one[name]) > 0


def test_accumulated_over_workers_is_the_step_in_one_go(results):
    assert difference(results[0, 1]["step"], results[0, 2]["accumulated"]) < 1e-6


def test_a_frozen_backbone_has_no_gradient_and_keeps_its_statistics(results):
    frozen, whole = results[0, 2]["frozen_part"], results[0, 2]["step"]
    missing = {name for name in whole if name not in frozen}
    assert missing
    assert all(name.startswith("backbone.backbone.") for name in missing)


def assert_close(one, two, tolerance):
    """Relative to the largest value."""
    assert float((one - two).abs().max()) < tolerance * float(one.abs().max())


@pytest.mark.parametrize("rank", [0, 1])
def test_synchronised_batch_norm_is_batch_norm_over_the_whole_batch(results, rank):
    one, two = results[0, 1]["norm"], results[rank, 2]["norm"]
    rows = (slice(0, 5), slice(5, 8))[rank]
    for name in ("out", "inner"):
        assert_close(one[name][rows], two[name], 1e-5)
    for name in ("0.weight", "0.bias", "0.running_mean", "0.running_var"):
        assert_close(one[name], two[name], 1e-5)
    assert int(two["0.num_batches_tracked"]) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_whole_network_of_it_is_one_process(results, rank):
    one, two = results[0, 1]["whole_network"], results[rank, 2]["whole_network"]
    assert difference(one, two) < 1e-8
    for name in one:
        if "running" in name:
            assert_close(one[name], two[name], 1e-8)


def test_a_step_with_it_is_that_of_one_process(results):
    assert difference(results[0, 1]["synchronised"], results[1, 2]["synchronised"]) < 1e-6


def test_a_loss_that_is_no_number_stops_both_workers_at_its_step_and_changes_no_weight(results):
    for rank in (0, 1):
        poisoned = results[rank, 2]["poisoned"]
        assert poisoned["step"] == 1
        assert poisoned["kept"]
        assert poisoned["own"] == (rank == 1)
    assert "the loss of step 1" in results[1, 2]["poisoned"]["message"]
    assert "another worker's loss" in results[0, 2]["poisoned"]["message"]
