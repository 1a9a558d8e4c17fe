"""Who gets which CPUs, by hand: nothing that would wait for ever is started."""

from dataclasses import replace

import pytest

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.capacity import GIB, Cluster, Demand, capacity, room_for_block

LAPTOP = Cluster(cpus=2, free_cpus=2, gpus=0, free_gpus=0, memory_bytes=16 * GIB, object_store_bytes=4 * GIB)
TWO = Demand(workers=2, cpus_per_worker=None, block_bytes=16 * 640 * 640 * 3, lanes=8)


def test_on_two_cores_two_workers_share_what_the_data_leaves():
    given = capacity(TWO, LAPTOP)
    assert (given.cpus_per_worker, given.data_cpus, given.gpu) == (0.5, 1.0, False)
    assert str(given) == "2 workers with 0.5 CPU each, 1 CPU for data"


def test_on_many_cores_each_worker_has_one_and_the_data_all_others():
    given = capacity(TWO, replace(LAPTOP, cpus=16, free_cpus=16))
    assert (given.cpus_per_worker, given.data_cpus) == (1.0, 14.0)


def test_shares_are_rounded_down_so_that_the_data_keeps_its_cpu():
    given = capacity(replace(TWO, workers=3), LAPTOP)
    assert given.cpus_per_worker == 0.33
    assert given.data_cpus >= 1


def test_each_worker_gets_a_gpu_where_there_are_any():
    given = capacity(TWO, replace(LAPTOP, cpus=8, free_cpus=8, gpus=2, free_gpus=2))
    assert given.gpu
    assert "a GPU and 1 CPU" in str(given)


def test_a_share_that_was_asked_for_is_given_or_refused():
    assert capacity(replace(TWO, cpus_per_worker=0.25), LAPTOP).cpus_per_worker == 0.25
    with pytest.raises(ClusterError, match="2 workers at 1 CPU and 1 CPU for data need 3 CPUs, but 2 are free"):
        capacity(replace(TWO, cpus_per_worker=1.0), LAPTOP)


def test_cpus_that_others_use_are_not_free():
    with pytest.raises(ClusterError, match=r"need 1\.2 CPUs, but 1 are free \(3 of 4 are in use\)"):
        capacity(TWO, replace(LAPTOP, cpus=4, free_cpus=1))


def test_too_few_gpus_memory_or_object_store_are_told_with_their_numbers():
    with pytest.raises(ClusterError, match="of the cluster's 4 1 are free"):
        capacity(TWO, replace(LAPTOP, gpus=4, free_gpus=1))
    with pytest.raises(ClusterError, match=r"2\.8 GiB of memory, but the cluster has 2\.0"):
        capacity(TWO, replace(LAPTOP, memory_bytes=2 * GIB))
    with pytest.raises(ClusterError, match=r"0\.4 GiB of images in Ray's object store, but the cluster has 0\.1"):
        capacity(TWO, replace(LAPTOP, object_store_bytes=0.1 * GIB))


def test_the_object_store_need_not_hold_blocks_for_every_core_of_a_large_machine_twice_over():
    """The published recipe on 16 cores with 16 GB, whose object store has 30 percent: blocks of 32 rows at 640 px."""
    machine = replace(LAPTOP, cpus=16, free_cpus=16, object_store_bytes=4.8 * GIB)
    assert capacity(replace(TWO, block_bytes=32 * 640 * 640 * 3), machine).data_cpus == 14
    with pytest.raises(ClusterError, match=r"4\.5 GiB of images"):
        capacity(replace(TWO, block_bytes=64 * 640 * 640 * 3), replace(machine, object_store_bytes=4.0 * GIB))


def test_an_elastic_training_never_fills_a_machine_up():
    """However many machines are lost, one more worker than planned does not fit, and a data task does."""
    elastic = replace(TWO, workers=3, fewest_workers=1)
    three = replace(LAPTOP, cpus=6, free_cpus=6, node_cpus=(2.0, 2.0, 2.0))
    given = capacity(elastic, three)
    assert (given.fewest_workers, given.workers, given.cpus_per_worker, given.cpus_per_data_task) == (1, 3, 1.01, 0.66)
    assert str(given) == "1 to 3 workers with 1.01 CPU each, 4.99 CPU for data"
    alone = capacity(replace(TWO, fewest_workers=1), LAPTOP)
    assert 2 * alone.cpus_per_worker + alone.cpus_per_data_task <= 2 < 3 * alone.cpus_per_worker
    with pytest.raises(ClusterError, match="machines of 2 CPUs can be filled up by workers of 1"):
        capacity(replace(elastic, cpus_per_worker=1.0), three)


def test_an_elastic_training_starts_with_as_few_machines_as_it_may():
    gpus = replace(LAPTOP, cpus=8, free_cpus=8, gpus=4, free_gpus=1)
    assert capacity(replace(TWO, fewest_workers=1), gpus).workers == 2
    with pytest.raises(ClusterError, match="2 workers want a GPU each"):
        capacity(TWO, gpus)


@pytest.mark.parametrize("tasks", [1, 8])
def test_a_block_that_uses_its_room_takes_half_of_the_object_store(tasks):
    machine = replace(LAPTOP, cpus=2 + tasks, free_cpus=2 + tasks)
    demand = replace(TWO, cpus_per_worker=1.0)
    given = capacity(demand, machine)
    room = room_for_block(demand, given, machine)
    half = replace(machine, object_store_bytes=machine.object_store_bytes / 2)
    capacity(replace(demand, block_bytes=int(room)), half)
    with pytest.raises(ClusterError, match="of images in Ray's object store"):
        capacity(replace(demand, block_bytes=int(room) + 1), half)
