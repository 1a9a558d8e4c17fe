"""A Ray that is too slow for Ray's own patience is started again; one that fails otherwise is not."""

import socket
import sys
from pathlib import Path

import pytest
import ray

from rayox_cluster.address import Address
from rayox_cluster.cluster_record import ClusterRecord
from rayox_cluster.local import _connect
from rayox_cluster.local_nodes import _start, _when_ready
from rayox_cluster.processes import end
from rayox_cluster.ray_start import START_TRIES
from rayox_model.core.errors import ClusterError

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."
NODE = """
import http.server, pathlib, sys
tries = pathlib.Path(sys.argv[1])
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) < int(sys.argv[2]):
    raise SystemExit(sys.argv[3])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[4])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def record(tmp_path):
    made = ClusterRecord(
        mark="0123456789abcdef",
        address="127.0.0.1:1",
        dashboard="http://127.0.0.1:2",
        nodes=1,
        cpus_per_node=1,
        storage=str(tmp_path / "runs"),
        tracking="http://127.0.0.1:3",
        temp_folder=str(tmp_path / "rx"),
        folder=str(tmp_path),
    )
    Path(made.temp_folder).mkdir()
    made.token_path.write_text("a-token")
    return made


def up(record: ClusterRecord, succeeds_at: int, says: str) -> ClusterRecord:
    """A node that ends with these words until the given start, and then answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tries = Path(record.folder) / "tries"
    command = [sys.executable, "-c", NODE, str(tries), str(succeeds_at), says, str(port)]
    started = _start(record, "head", command)
    return _when_ready(started, f"http://127.0.0.1:{port}", lambda answer: True, {"head": command})


@pytest.mark.slow
def test_a_node_that_was_too_slow_is_started_again(record, tmp_path):
    running = up(record, 2, SLOW)
    try:
        assert (tmp_path / "tries").read_text() == "xx"
        assert [one.role for one in running.started] == ["head"]
        assert running.started[0].process.is_alive
    finally:
        end([one.process for one in running.started], running.mark, 5.0)


@pytest.mark.slow
@pytest.mark.parametrize(("says", "starts"), [(SLOW, START_TRIES), ("Address already in use", 1)])
def test_it_is_not_started_forever_and_not_for_other_reasons(record, tmp_path, says, starts):
    with pytest.raises(ClusterError, match=f"head ended while it started: .*{says[:20]}"):
        up(record, 10, says)
    assert (tmp_path / "tries").read_text() == "x" * starts


@pytest.mark.parametrize(
    ("failures", "says", "starts", "works"),
    [(1, SLOW, 2, True), (9, SLOW, START_TRIES, False), (9, "no room for the object store", 1, False)],
)
def test_a_local_ray_is_started_again(monkeypatch, tmp_path, failures, says, starts, works):
    began = []

    def init(**options):
        began.append(options)
        if len(began) <= failures:
            raise Exception(says)

    monkeypatch.setattr(ray, "init", init)
    if works:
        _connect(Address(None, "--address"), {"num_cpus": 2}, tmp_path)
    else:
        with pytest.raises(ClusterError, match=says[:20]):
            _connect(Address(None, "--address"), {"num_cpus": 2}, tmp_path)
    assert began == [{"address": "local", "num_cpus": 2}] * starts
