"""What a training would take elsewhere: hand-worked answers, and what grows with what."""

from dataclasses import replace

import pytest

from rayox_platform.resources.outlook import Rates, Work, outlook, stops_at

RATES = Rates(
    sample_seconds=0.01,
    step_seconds=0.02,
    image_seconds=0.005,
    evaluation_seconds=0.002,
    gradient_bytes=4_000_000,
    checkpoint_bytes=2**30,
    gpu=True,
)
WORK = Work(train_images=6400, val_images=500, batch_size=64, epochs=10, evaluate_every=5, checkpoints=3, lanes=8)


def test_one_worker_by_hand():
    """A step takes 0.02 + 64 × 0.005 = 0.34 s: 188.24 images a second; 6400 images ten times, and two evaluations."""
    found = outlook(RATES, WORK, 1, per_hour=2.0)
    assert found.images_per_second == pytest.approx(188.24, abs=0.01)
    assert found.hours == pytest.approx((64000 / 188.235 + 2 * 500 * 0.002) / 3600, abs=1e-4)
    assert found.data_cpus == 3  # 188.24 × (0.01 + 0.15 / 64) / 0.95 = 2.4
    assert found.storage_gib == 4.0
    assert found.cost == pytest.approx(0.19, abs=0.005)
    assert (found.limit, found.efficiency) == ("workers", 1.0)


def test_few_cpus_limit_a_gpu():
    """Two cores make 2 / (0.01 + 0.15 / 64) = 162 samples a second."""
    found = outlook(RATES, WORK, 1, cpus=2)
    assert (found.images_per_second, found.limit) == (162.03, "data")
    assert outlook(RATES, WORK, 1, cpus=8).limit == "workers"


def test_workers_on_cpus_share_them_with_the_data():
    """Two cores but for Ray's own 0.4 give 1.6 / (0.01 + 0.15 / 64 + 0.005 + workers × 0.02 / 64) images a second."""
    shared = replace(RATES, gpu=False)
    speeds = [outlook(shared, WORK, workers, cpus=2).images_per_second for workers in (1, 2, 4)]
    assert speeds == pytest.approx([90.62, 89.04, 86.05], abs=0.01)


def test_cores_that_all_work_are_slower_than_one_alone():
    shared = replace(RATES, gpu=False, together=0.6, sample_seconds=0.0009)
    made = 0.0009 + 0.15 / 64
    two = outlook(shared, WORK, 2, cpus=2).images_per_second
    assert two == pytest.approx(1.6 * 0.6 / (made + 0.005 + 2 * 0.02 / 64), abs=0.01)
    found = outlook(replace(shared, step_seconds=0.2), WORK, 2, cpus=5).images_per_second
    busy = (2 * 2 - 1 + 0.4 + found * made) / 4  # of the other cores, with two threads in each worker
    assert busy < 1
    computing = (0.2 + 32 * 0.005 / 2) * (1 + (1 / 0.6 - 1) * busy)
    assert found == pytest.approx(64 / (computing + 4e6 / 1.25e9), rel=1e-3)
    paper = outlook(shared, WORK, 4).images_per_second
    assert paper == pytest.approx(64 / (0.1 / 0.6 + 2 * 3 / 4 * 4e6 / 1.25e9), rel=1e-3)
    data = outlook(replace(RATES, together=0.5), WORK, 1)
    assert data.data_cpus == 5, "188.24 × (0.01 + 0.15 / 64) / 0.5 / 0.95 = 4.9"
    small = outlook(RATES, replace(WORK, block_images=8), 1)
    assert small.data_cpus == 6, "188.24 × (0.01 + 0.15 / 8) / 0.95 = 5.7"


def test_a_worker_alone_computes_with_all_cores_but_what_a_step_costs_beside_its_images():
    alone = replace(RATES, gpu=False, step_seconds=0.4, sample_seconds=0.0001)
    assert outlook(alone, WORK, 1, cpus=2).images_per_second == pytest.approx(64 / (0.4 + 64 * 0.005 / 2), abs=0.01)
    assert outlook(alone, WORK, 1).images_per_second == pytest.approx(64 / (0.4 + 64 * 0.005), abs=0.01)
    assert outlook(alone, WORK, 2, cpus=2).efficiency < 0.9, "the second one takes a core of the first"


def test_more_workers_are_faster_and_each_of_them_slower():
    found = [outlook(RATES, WORK, workers) for workers in (1, 2, 8, 64)]
    speeds = [one.images_per_second for one in found]
    assert speeds == sorted(speeds)
    efficiencies = [one.efficiency for one in found]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert outlook(RATES, WORK, 65).limit == "batch"


def test_it_stops_scaling_where_a_worker_is_worth_half():
    most = stops_at(RATES, WORK)
    assert outlook(RATES, WORK, most).efficiency >= 0.5 > outlook(RATES, WORK, most + 1).efficiency
    slow = replace(RATES, gradient_bytes=400_000_000)
    assert stops_at(slow, WORK, network_gigabits=1) == 1
    assert outlook(slow, WORK, 64, network_gigabits=1).limit == "network"
