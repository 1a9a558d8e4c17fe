"""A local cluster's record in a folder that several machines, or several shells, have in common."""

import json
import platform
from dataclasses import replace

import pytest

from rayox_cluster.access import find_cluster
from rayox_cluster.cluster_record import FILE, FOLDER, ClusterRecord, held, read_record, write_token
from rayox_cluster.local_nodes import down, up
from rayox_model.core.errors import ClusterError


@pytest.fixture
def theirs(tmp_path):
    """(state folder, record) of a cluster that another machine has started."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    record = ClusterRecord(
        mark="m",
        address="127.0.0.1:1",
        dashboard="http://127.0.0.1:2",
        nodes=2,
        cpus_per_node=1,
        storage=str(tmp_path / "runs"),
        tracking="http://127.0.0.1:3",
        temp_folder=str(tmp_path / "rx"),
        folder=str(folder),
        host="elsewhere",
    )
    record.write()
    write_token(record.token_path)
    return tmp_path, record


WAYS = {
    "up": lambda state: up(state, 1, 1, lambda text: None),
    "down": down,
    "submit": lambda state: find_cluster(None, state),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_cluster_of_another_machine_is_left_alone(theirs, way):
    state, record = theirs
    with pytest.raises(ClusterError, match=rf"is on elsewhere, and this machine is {platform.node()}") as error:
        WAYS[way](state)
    assert "RAYOX_STATE" in error.value.hint
    assert str(state / FOLDER / FILE) in error.value.hint
    assert read_record(state) == record
    assert record.token_path.exists()


def test_its_token_is_not_given_to_whoever_is_at_the_same_address_here(theirs):
    state, record = theirs
    assert find_cluster(record.dashboard, state) == (record.dashboard, None)


def test_one_that_another_shell_is_starting_is_left_alone(tmp_path):
    with held(tmp_path / FOLDER), pytest.raises(ClusterError, match="another `rayox cluster up` is starting"):
        up(tmp_path, 1, 1, lambda text: None)
    assert read_record(tmp_path) is None
    with held(tmp_path / FOLDER):
        pass  # it is free again


def test_a_record_of_an_earlier_rayox_is_one_of_this_machine(theirs):
    state, record = theirs
    own = replace(record, host="")
    values = json.loads((state / FOLDER / FILE).read_text())
    (state / FOLDER / FILE).write_text(
        json.dumps({key: value for key, value in values.items() if key not in ("host", "gpus", "memory_per_node")})
    )
    assert read_record(state) == own
    assert down(state) == 0
    assert read_record(state) is None
