"""Workers on the machines of some labels, data on those of others."""

import pytest

from rayox_model.core.errors import ClusterError
from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Demand
from rayox_platform.resources.labels import placed, selector, where
from rayox_platform.resources.machines import Cluster, Machine, Room

SMALL = 2**20


def machine(name: str, cpus: float, gpus: float = 0.0, **labels: str) -> Machine:
    room = Room(cpus, gpus)
    return Machine(name, room, room, tuple(sorted(labels.items())))


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
    given = placed(demand, THREE, selector("role=train"), selector("role=data"))
    assert (given.cpus_per_worker, given.data_cpus) == (1.0, 1.0)
    with pytest.raises(ClusterError):  # on the one machine that both share there is no room for both
        placed(Demand(1, 1.0, SMALL, 8), THREE, selector("role=train"), selector("role=train"))


def test_workers_that_do_not_fit_on_their_machines_are_refused():
    with pytest.raises(ClusterError, match="11 workers do not fit on the nodes of train"):
        placed(Demand(11, None, SMALL, 8), THREE, selector("role=train"), selector("role=data"))


def test_a_gpu_machine_without_a_label_takes_no_worker():
    cluster = Cluster((machine("cpu", 4, role="data"), machine("gpu", 4, 2.0, role="train")))
    given = placed(Demand(2, None, SMALL, 8), cluster, selector("role=train"), selector("role=data"))
    assert given.gpu
    assert (given.workers, given.cpus_per_worker, given.data_cpus) == (2, 1.0, 4.0)


def test_a_setting_that_is_no_label_is_refused():
    with pytest.raises(ValueError, match="'train' is not a label as key=value"):
        Config.model_validate({"train": {"nodes": "train"}})
