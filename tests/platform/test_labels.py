"""Workers on the machines of some labels, data on those of others."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from rayox_model.core.errors import ClusterError
from rayox_platform.config.tree import Config
from rayox_platform.resources.capacity import capacity
from rayox_platform.resources.demand import DATA_TASK_CPUS, GIB, Capacity, Demand
from rayox_platform.resources.machines import Cluster, Machine, Room, leaves_a_task, tasks_beside
from rayox_platform.resources.node_labels import divided, selector, where

SMALL = 2**20


def machine(name: str, cpus: float, gpus: float = 0.0, **labels: str) -> Machine:
    room = Room(cpus, gpus)
    return Machine(name, room, room, tuple(sorted(labels.items())))


def placed(demand: Demand, cluster: Cluster, train: str | None, data: str | None) -> Capacity:
    return capacity(demand, divided(cluster, selector(train), selector(data)))


THREE = Cluster((machine("head", 1, role="head"), machine("cpu", 1, role="data"), machine("gpu", 1, role="train")))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ["head", "cpu", "gpu"]),
        ("role=data", ["cpu"]),
        ("role=!data", ["head", "gpu"]),
        ("role=in(data;train)", ["cpu", "gpu"]),
        ("role=!in(data;train)", ["head"]),
    ],
)
def test_a_selector_leaves_the_machines_it_names(text, names):
    assert [one.name for one in where(THREE, selector(text), "data.nodes").machines] == names


def test_a_selector_that_names_no_machine_is_refused_with_the_labels_there_are():
    with pytest.raises(ClusterError, match="role=gpu; labels there are: role=data, role=head"):
        where(THREE, selector("role=gpu"), "train.nodes")


def test_workers_have_their_machines_whole_when_the_data_are_elsewhere():
    demand = Demand(1, None, SMALL, 8)
    given = placed(demand, THREE, "role=train", "role=data")
    assert (given.cpus_per_worker, given.data_cpus) == (1.0, 1.0)
    with pytest.raises(ClusterError):  # on the one machine that both share there is no room for both
        placed(Demand(1, 1.0, SMALL, 8), THREE, "role=train", "role=train")


def test_workers_that_do_not_fit_on_their_machines_are_refused():
    with pytest.raises(ClusterError, match="11 workers do not fit on the nodes of train"):
        placed(Demand(11, None, SMALL, 8), THREE, "role=train", "role=data")


def test_a_gpu_machine_without_a_label_takes_no_worker():
    cluster = Cluster((machine("cpu", 4, role="data"), machine("gpu", 4, 2.0, role="train")))
    given = placed(Demand(2, None, SMALL, 8), cluster, "role=train", "role=data")
    assert given.gpu
    assert (given.workers, given.cpus_per_worker, given.data_cpus) == (2, 1.0, 4.0)


def test_workers_that_may_fill_the_nodes_of_the_data_are_refused_at_once():
    """Both may come to lie on the second machine, the only one of the data."""
    pair = Cluster((machine("first", 2, role="train"), machine("second", 2, role="data")))
    for train in (None, "role=in(train;data)"):
        assert placed(Demand(2, None, SMALL, 8), pair, train, "role=data").cpus_per_worker == 0.5
        with pytest.raises(ClusterError) as caught:
            placed(Demand(2, 1.0, SMALL, 8), pair, train, "role=data")
        assert caught.value.message == (
            "train.workers: 2 workers at 1 CPU may leave less than 1 CPU for data on the nodes of data.nodes: "
            "second has 2 CPUs"
        )
        assert caught.value.hint == (
            "set train.workers=1 or train.cpus_per_worker=0.5, the most that fits, or name more nodes"
        )
    alone = placed(Demand(2, 1.0, SMALL, 8), pair, "role=train", "role=data")
    assert (alone.cpus_per_worker, alone.data_cpus) == (1.0, 2.0)


def test_data_without_labels_finds_room_where_no_worker_may_go():
    """It was looked for on the machines of the workers alone."""
    given = placed(Demand(1, 1.0, SMALL, 8), THREE, "role=train", None)
    assert (given.cpus_per_worker, given.data_cpus) == (1.0, 2.0)


def test_nodes_of_the_data_without_a_cpu_are_refused():
    pair = Cluster((machine("busy", 0.5, role="data"), machine("free", 4, role="train")))
    with pytest.raises(
        ClusterError, match=r"data\.nodes: 1 CPU for data, 0\.66 of it on one node, .*: busy has 0\.5 CPU"
    ):
        placed(Demand(1, None, SMALL, 8), pair, "role=train", "role=data")


def test_data_of_its_own_nodes_have_their_memory_and_their_object_store():
    """Four CPUs are six data tasks of 0.4 GiB; what the workers' machine has does not help."""
    rich = replace(machine("gpu", 4, 1.0, role="train"), store_bytes=8.0 * GIB)
    room = Room(4, memory_bytes=2 * GIB)
    poor = Machine("cpu", room, room, (("role", "data"),), store_bytes=0.5 * GIB)
    cluster = Cluster((rich, poor), object_store_bytes=8.5 * GIB)
    demand = Demand(1, None, SMALL, 8)
    with pytest.raises(
        ClusterError, match=r"data\.nodes: 6 data tasks take about 2\.4 GiB of memory, but the nodes of"
    ):
        placed(demand, cluster, "role=train", "role=data")
    room = Room(4, memory_bytes=3 * GIB)
    enough = replace(cluster, machines=(rich, replace(poor, total=room, free=room)))
    assert placed(demand, enough, "role=train", "role=data").data_cpus == 4.0
    large = replace(demand, block_bytes=30 * SMALL)
    with pytest.raises(ClusterError, match=r"0\.9 GiB of images .* but the nodes of data\.nodes have 0\.5"):
        placed(large, enough, "role=train", "role=data")
    assert placed(large, enough, "role=train", None).gpu, "any machine may make blocks"


def test_an_elastic_training_need_not_leave_room_where_no_data_goes():
    """On machines of the data it must: one worker more than planned would fill them up."""
    elastic = Demand(3, 1.0, SMALL, 8, fewest_workers=1)
    apart = placed(elastic, THREE, "role=in(head;train)", "role=data")
    assert (apart.fewest_workers, apart.cpus_per_worker, apart.cpus_per_data_task) == (1, 1.0, DATA_TASK_CPUS)
    pair = Cluster((machine("first", 4, role="data"), machine("second", 4, role="train")))
    with pytest.raises(ClusterError, match="workers of 1 CPU can fill a machine up"):
        placed(elastic, pair, None, "role=data")


cpus = st.sampled_from([0.0, 1.0, 2.0, 3.0])
roles = st.sampled_from([(True, True), (True, False), (False, True)])


@settings(max_examples=100, deadline=None)
@for_any(st.lists(st.tuples(cpus, roles), min_size=1, max_size=4), st.integers(1, 6), st.integers(10, 200))
def test_the_worst_placement_is_counted_where_machines_take_one_kind_alone(kinds, workers, hundredths):
    """By trying every way to put the workers on the machines."""
    each = Room(hundredths / 100)
    machines = [Machine("", Room(has), Room(has), takes_workers=w, takes_data=d) for has, (w, d) in kinds]
    ways = product(*(range(one.free.takes(each) + 1 if one.takes_workers else 1) for one in machines))
    expected = min((tasks(machines, way, each) for way in ways if sum(way) == workers), default=None)
    cluster = Cluster(tuple(machines))
    assert tasks_beside(cluster, each, workers, DATA_TASK_CPUS) == expected
    assert leaves_a_task(cluster, each, workers, DATA_TASK_CPUS) == bool(expected)


def tasks(machines: list[Machine], way: tuple[int, ...], each: Room) -> int:
    left = [one.free.cpus - here * each.cpus for one, here in zip(machines, way, strict=True) if one.takes_data]
    return sum(math.floor((part + 1e-6) / DATA_TASK_CPUS) for part in left)


def test_a_setting_that_is_no_label_is_refused():
    with pytest.raises(ValueError, match="'train' is not a label as key=value"):
        Config.model_validate({"train": {"nodes": "train"}})
