"""What a local Ray opens: every socket that its processes and the driver listen on is of this machine alone."""

from importlib.metadata import version
from ipaddress import ip_address

import psutil
import pytest
import ray

pytestmark = pytest.mark.ray


def listening(process: psutil.Process) -> list[tuple[str, str]]:
    """(address, name of the process) of every socket that a process and those it has started listen on."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        try:
            name = one.name()
            found += [(socket.laddr.ip, name) for socket in one.net_connections("inet") if socket.status == "LISTEN"]
        except psutil.NoSuchProcess:
            continue
    return found


def is_loopback(address: str) -> bool:
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def test_a_local_cluster_listens_on_loopback_alone(cluster):
    ray.get(ray.remote(num_cpus=0)(version).remote("ray"))  # a worker's process, too
    sockets = listening(psutil.Process())
    assert {"gcs_server", "raylet"} <= {name for _, name in sockets}
    assert [one for one in sockets if not is_loopback(one[0])] == []
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}


def test_other_addresses_would_be_seen():
    assert [is_loopback(one) for one in ("127.0.0.1", "::ffff:127.0.0.1", "::1")] == [True] * 3
    assert [is_loopback(one) for one in ("0.0.0.0", "::", "192.0.2.2")] == [False] * 3
