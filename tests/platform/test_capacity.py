"""Who gets which CPUs, by hand: nothing that would wait forever is started."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.capacity import best_share, capacity, most_workers, room_for_block
from rayox_platform.resources.demand import DATA_TASK_CPUS, GIB, Demand
from rayox_platform.resources.machines import Cluster, Room, cluster_of, described, leaves_a_task, tasks_beside

LAPTOP = cluster_of(Room(2, memory_bytes=16 * GIB), object_store_bytes=4 * GIB)
THREE = cluster_of(*[Room(2, memory_bytes=16 * GIB)] * 3, object_store_bytes=4 * GIB)
TWO = Demand(workers=2, cpus_per_worker=None, block_bytes=16 * 640 * 640 * 3, lanes=8)


def machine(cpus: float, gpus: float = 0, gib: float = 16, store_gib: float = 4) -> Cluster:
    return cluster_of(Room(cpus, gpus, gib * GIB), object_store_bytes=store_gib * GIB)


def in_use(cluster: Cluster, *taken: Room) -> Cluster:
    """With so much taken of each machine."""
    used = [
        replace(
            one,
            free=Room(one.free.cpus - part.cpus, one.free.gpus - part.gpus, one.free.memory_bytes - part.memory_bytes),
        )
        for one, part in zip(cluster.machines, taken, strict=True)
    ]
    return replace(cluster, machines=tuple(used))


def refusal(demand: Demand, cluster: Cluster) -> tuple[str, str]:
    with pytest.raises(ClusterError) as caught:
        capacity(demand, cluster)
    return caught.value.message, caught.value.hint


def test_on_two_cores_two_workers_share_what_the_data_leaves():
    given = capacity(TWO, LAPTOP)
    assert (given.cpus_per_worker, given.data_cpus, given.gpu) == (0.5, 1.0, False)
    assert str(given) == "2 workers with 0.5 CPU each, 1 CPU for data"


def test_on_many_cores_each_worker_has_one_and_the_data_all_others():
    given = capacity(TWO, machine(16))
    assert (given.cpus_per_worker, given.data_cpus, given.threads_per_worker) == (1.0, 14.0, 8)


def test_shares_are_rounded_down_so_that_the_data_keeps_its_cpu():
    given = capacity(replace(TWO, workers=3), LAPTOP)
    assert given.cpus_per_worker == 0.33
    assert given.data_cpus >= 1


def test_each_worker_gets_a_gpu_where_there_are_any():
    given = capacity(TWO, machine(8, gpus=2))
    assert given.gpu
    assert "a GPU and 1 CPU" in str(given)


def test_a_part_of_a_gpu_lies_on_one_device():
    quarter = replace(TWO, workers=8, gpus_per_worker=0.25)
    given = capacity(quarter, machine(16, gpus=2))
    assert (given.gpu, given.gpus_per_worker, given.gpus) == (True, 0.25, 2.0)
    assert given.reserved["GPU"] == 0.25
    assert "8 workers with 0.25 of a GPU and 1 CPU" in str(given)
    assert capacity(TWO, machine(8, gpus=2)).reserved["GPU"] == 1.0
    assert "GPU" not in capacity(quarter, machine(16)).reserved, "a cluster without GPUs trains on CPUs"
    for part, fitting in ((0.4, 4), (0.6, 2), (0.3, 6), (1.0, 2)):
        demand = replace(quarter, gpus_per_worker=part)
        assert most_workers(demand, machine(16, gpus=2)) == fitting, "0.4 fits on each of the two twice"
    message, hint = refusal(replace(quarter, workers=9), machine(16, gpus=2))
    assert "9 workers want 0.25 of a GPU each, but 2 of the cluster's 2 are free" in message
    assert hint == "set train.workers=8"


def test_parts_of_gpus_are_counted_machine_by_machine():
    """1.5 free GPUs on one machine and half of one on another: 0.6 of a GPU fits once, 0.5 four times."""
    apart = in_use(cluster_of(Room(8, 2), Room(8, 1)), Room(0, 0.5, 0), Room(0, 0.5, 0))
    assert most_workers(replace(TWO, workers=9, gpus_per_worker=0.6), apart) == 1
    assert most_workers(replace(TWO, workers=9, gpus_per_worker=0.5), apart) == 4
    assert most_workers(replace(TWO, workers=9), apart) == 1
    message, hint = refusal(replace(TWO, gpus_per_worker=0.6), apart)
    assert "0.6 of a GPU each, but 2 of the cluster's 3 are free" in message
    assert hint == "set train.workers=1, or wait for the others to finish"


def test_a_share_that_was_asked_for_is_given_or_refused():
    assert capacity(replace(TWO, cpus_per_worker=0.25), LAPTOP).cpus_per_worker == 0.25
    message, hint = refusal(replace(TWO, cpus_per_worker=1.0), LAPTOP)
    assert "2 workers at 1 CPU and 1 CPU for data need 3 CPUs, but 2 are free: machine 1 has 2 CPUs" in message
    assert hint == "set train.workers=1 or train.cpus_per_worker=0.5, the most that fits"


def test_cpus_that_others_use_are_not_free():
    message, hint = refusal(TWO, in_use(machine(4), Room(3, memory_bytes=0)))
    assert "need 1.2 CPUs, but 1 are free (3 of 4 are in use): machine 1 has 4 CPUs (1 free)" in message
    assert hint == "wait for the others to finish"


def test_too_few_gpus_memory_or_object_store_are_told_with_their_numbers():
    busy = in_use(machine(2, gpus=4), Room(0, 3, 0))
    message, hint = refusal(TWO, busy)
    assert "1 of the cluster's 4 are free: machine 1 has 2 CPUs, 4 GPUs (1 free)" in message
    assert hint == "set train.workers=1, or wait for the others to finish"
    assert "2.8 GiB of memory, but the cluster has 2.5" in refusal(TWO, machine(2, gib=2.5))[0]
    message, hint = refusal(TWO, machine(2, gib=2))
    assert "2 workers reserve 1.2 GiB of memory each, and 1 fit on the machines" in message
    assert hint == "set train.workers=1, the most that fits"
    assert (
        "0.4 GiB of images in Ray's object store, but the cluster has 0.1" in refusal(TWO, machine(2, store_gib=0.1))[0]
    )


def test_the_object_store_need_not_hold_blocks_for_every_core_of_a_large_machine_twice_over():
    """The published recipe on 16 cores with 16 GB, whose object store has 30 percent: blocks of 32 rows at 640 px."""
    assert capacity(replace(TWO, block_bytes=32 * 640 * 640 * 3), machine(16, store_gib=4.8)).data_cpus == 14
    message, _ = refusal(replace(TWO, block_bytes=64 * 640 * 640 * 3), machine(16, store_gib=4.0))
    assert "4.5 GiB of images" in message


def test_a_worker_larger_than_any_machine_is_refused_with_what_each_has():
    """Six CPUs are free, and no machine has four of them."""
    message, hint = refusal(replace(TWO, workers=1, cpus_per_worker=4), THREE)
    assert message == (
        "train.cpus_per_worker: no machine has 4 CPUs for a worker: machine 1, machine 2 and machine 3 have 2 CPUs"
    )
    assert hint == "set train.cpus_per_worker=2, the most that fits"
    assert capacity(replace(TWO, workers=1, cpus_per_worker=2), THREE).data_cpus == 4


def test_workers_that_leave_no_machine_room_for_the_data_are_refused():
    message, hint = refusal(replace(TWO, workers=3, cpus_per_worker=1.6), THREE)
    assert "3 workers at 1.6 CPU leave no machine 0.66 CPU for data" in message
    assert hint == "set train.workers=2 or train.cpus_per_worker=1.34, the most that fits"
    for setting in (replace(TWO, cpus_per_worker=1.6), replace(TWO, workers=3, cpus_per_worker=1.34)):
        capacity(setting, THREE)


def test_shares_are_those_that_fit_on_machines_and_not_on_their_sum():
    """Seven workers of 0.71 would be five CPUs, but two fit on each machine; of 0.44 four, also on two machines."""
    assert capacity(replace(TWO, workers=7), THREE).cpus_per_worker == 0.44
    message, hint = refusal(replace(TWO, workers=7, cpus_per_worker=0.71), THREE)
    assert "of 7 workers at 0.71 CPU 6 fit on the machines" in message
    assert hint == "set train.workers=5 or train.cpus_per_worker=0.66, the most that fits"
    assert refusal(replace(TWO, workers=60), THREE)[1] == "set train.workers=39, the most that fits"  # by memory
    assert capacity(replace(TWO, workers=39), THREE).cpus_per_worker == 0.1


def test_the_loss_of_one_machine_leaves_room_for_the_data():
    """Two machines of two CPUs: both workers and a data task fit on the one that is left."""
    pair = cluster_of(Room(2), Room(2))
    share = capacity(TWO, pair).cpus_per_worker
    assert share == 0.67
    assert 2 * share + DATA_TASK_CPUS <= 2
    assert capacity(TWO, cluster_of(Room(8), Room(8))).cpus_per_worker == 1.0
    gpus = cluster_of(Room(2, 1), Room(2, 1))  # one machine does not have two GPUs, whatever the share of its CPUs is
    assert capacity(TWO, gpus).cpus_per_worker == 1.0


def test_a_head_without_cpus_has_no_part():
    headless = cluster_of(Room(0), Room(4), Room(4))
    assert capacity(TWO, headless).cpus_per_worker == 1.0
    assert capacity(replace(TWO, fewest_workers=1), headless).cpus_per_worker == 2.01
    mixed = cluster_of(Room(0), Room(4, 1), Room(16))
    message, hint = refusal(TWO, mixed)
    assert "2 workers want a GPU each" in message
    assert hint == "set train.workers=1"


def test_memory_has_to_be_free_on_the_machine_of_the_worker():
    apart = cluster_of(Room(2, memory_bytes=2 * GIB), Room(2, memory_bytes=2 * GIB))
    capacity(TWO, apart)
    message, hint = refusal(replace(TWO, workers=3), apart)
    assert "3 workers reserve 1.2 GiB of memory each, and 2 fit on the machines" in message
    assert "2.0 GiB of memory" in message
    assert hint == "set train.workers=2, the most that fits"


def test_several_trainings_at_once_each_keep_a_data_task():
    """Two trials of one worker on two machines of two CPUs: each machine has room for one data task beside it."""
    pair = cluster_of(Room(2), Room(2))
    assert capacity(replace(TWO, streams=2, cpus_per_worker=1.0), pair).data_cpus == 2.0
    message, _ = refusal(replace(TWO, streams=2, cpus_per_worker=1.4), pair)
    assert "for data" in message
    assert most_workers(replace(TWO, workers=9, streams=2, cpus_per_worker=0.5), pair) == 4


def test_an_elastic_training_never_fills_a_machine_up():
    """However many machines are lost, one more worker than planned does not fit, and a data task does."""
    elastic = replace(TWO, workers=3, fewest_workers=1)
    given = capacity(elastic, THREE)
    assert (given.fewest_workers, given.workers, given.cpus_per_worker, given.cpus_per_data_task) == (1, 3, 1.01, 0.66)
    assert str(given) == "1 to 3 workers with 1.01 CPU each, 4.99 CPU for data"
    alone = capacity(replace(TWO, fewest_workers=1), LAPTOP)
    assert 2 * alone.cpus_per_worker + alone.cpus_per_data_task <= 2 < 3 * alone.cpus_per_worker
    with pytest.raises(ClusterError, match="workers of 1 CPU can fill a machine up"):
        capacity(replace(elastic, cpus_per_worker=1.0), THREE)


def test_an_elastic_training_starts_with_as_few_machines_as_it_may():
    gpus = in_use(machine(8, gpus=4), Room(0, 3, 0))
    assert capacity(replace(TWO, fewest_workers=1), gpus).workers == 2
    with pytest.raises(ClusterError, match="2 workers want a GPU each"):
        capacity(TWO, gpus)


def test_an_elastic_training_on_gpus_leaves_the_data_its_part_when_it_has_grown():
    given = capacity(replace(TWO, workers=4, fewest_workers=1), machine(4, gpus=4))
    assert 4 - 4 * given.cpus_per_worker + 1e-9 >= given.cpus_per_data_task >= 0.33


@pytest.mark.parametrize("tasks", [1, 8])
def test_a_block_that_uses_its_room_takes_half_of_the_object_store(tasks):
    whole = machine(2 + tasks)
    demand = replace(TWO, cpus_per_worker=1.0)
    given = capacity(demand, whole)
    room = room_for_block(demand, given, whole)
    half = replace(whole, object_store_bytes=whole.object_store_bytes / 2)
    capacity(replace(demand, block_bytes=int(room)), half)
    with pytest.raises(ClusterError, match="of images in Ray's object store"):
        capacity(replace(demand, block_bytes=int(room) + 1), half)


def worst_placement(rooms: tuple[Room, ...], each: Room, count: int, task: float) -> int | None:
    """By trying every way to put the workers on the machines."""
    ways = product(*(range(room.takes(each) + 1) for room in rooms))
    return min(
        (
            sum(math.floor((room.cpus - n * each.cpus + 1e-6) / task) for room, n in zip(rooms, way, strict=True))
            for way in ways
            if sum(way) == count
        ),
        default=None,
    )


rooms = st.builds(Room, st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]), st.sampled_from([0.0, 1.0, 2.0]))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(rooms, min_size=1, max_size=4), st.integers(1, 6), st.integers(10, 200), st.booleans())
def test_the_worst_placement_is_counted(rooms, workers, hundredths, gpu):
    each = Room(hundredths / 100, float(gpu))
    found = tasks_beside(cluster_of(*rooms), each, workers, DATA_TASK_CPUS)
    assert found == worst_placement(tuple(rooms), each, workers, DATA_TASK_CPUS)
    assert leaves_a_task(cluster_of(*rooms), each, workers, DATA_TASK_CPUS) == bool(found)


@settings(max_examples=60, deadline=None)
@given(st.lists(rooms, min_size=1, max_size=4), st.integers(1, 12), st.sampled_from([None, 0.3, 0.71, 1.0, 1.6, 4.0]))
def test_what_a_refusal_advises_fits_and_one_more_does_not(rooms, workers, cpus):
    demand, cluster = replace(TWO, workers=workers, cpus_per_worker=cpus), cluster_of(*rooms)
    try:
        capacity(demand, cluster)
    except ClusterError:
        most = most_workers(demand, cluster)
        assert most < workers
        assert best_share(replace(demand, workers=most + 1), cluster) is None
        if most:
            capacity(replace(demand, workers=most), cluster)
    else:
        assert most_workers(demand, cluster) == workers


def test_machines_that_are_alike_are_told_together():
    assert described(cluster_of(*[Room(2)] * 6, Room(1, 0))) == (
        "machine 1, machine 2, machine 3, machine 4 and 2 more have 2 CPUs; machine 7 has 1 CPU"
    )
