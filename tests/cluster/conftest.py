"""A cluster of two nodes of this machine for the tests of one file, and what is left of it when it has ended."""

from pathlib import Path

import pytest
import requests

from rayox_cluster.cluster_record import ClusterRecord, read_record
from rayox_cluster.local_nodes import down, up
from rayox_cluster.processes import marked


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """(state folder, record)"""
    state = tmp_path_factory.mktemp("cluster-state")
    record = up(state, 2, 1, lambda text: None, ({"role": "head"}, {"role": "train"}))
    yield state, record
    down(state)
    assert marked(record.mark) == []
    assert not Path(record.temp_folder).exists()
    assert read_record(state) is None
    assert not [port for port in _ports(record) if _answers(port)]
    assert not record.token_path.exists()


def _ports(record: ClusterRecord) -> list[str]:
    return [record.dashboard, record.tracking, f"http://{record.address}"]


def _answers(url: str) -> bool:
    try:
        requests.get(url, timeout=5)
    except requests.exceptions.ConnectionError as error:
        return "refused" not in str(error)
    return True
