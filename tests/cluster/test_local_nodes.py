"""A real cluster of two nodes on this machine: started, looked at from another process, ended without a trace."""

import json

import psutil
import pytest
from another_shell import headers, rayox

from rayox_cluster.jobs_api import JobsApi
from rayox_cluster.local_nodes import up
from rayox_cluster.loopback_node import LOOPBACK
from rayox_cluster.preflight import Question, ask
from rayox_cluster.processes import marked
from rayox_model.core.errors import ClusterError

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]


def test_everything_listens_on_loopback_alone(cluster):
    _, record = cluster
    listening = [
        (process.name(), connection.laddr.ip)
        for process in marked(record.mark)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 6
    assert {ip.removeprefix("::ffff:") for _, ip in listening} == {LOOPBACK}


def test_nobody_gets_in_without_the_token(cluster):
    _, record = cluster
    for wrong, said in (({}, "wants a token"), ({"Authorization": "Bearer 1234"}, "does not take this token")):
        with pytest.raises(ClusterError, match=said) as error:
            JobsApi(record.dashboard, wrong).jobs()
        assert "RAY_AUTH_TOKEN_PATH" in error.value.hint
    assert record.token_path.stat().st_mode & 0o777 == 0o600


def test_it_is_there_for_another_shell_and_only_once(cluster):
    state, record = cluster
    told = json.loads(rayox(state, "cluster", "status", "--json").stdout)
    assert told["up"]
    assert (told["address"], told["dashboard"], told["nodes"]) == (record.address, record.dashboard, 2)
    with pytest.raises(ClusterError, match="is up already"):
        up(state, 2, 1, lambda text: None)


def test_every_node_is_asked_about_the_storage_that_a_job_would_use(cluster):
    """One node after the other, over the Jobs API; what cannot be written is told with its node."""
    _, record = cluster
    api = JobsApi(record.dashboard, headers(record))
    question = Question(
        "rayox.node_checks", record.storage, f"http://{LOOPBACK}:9", ("/no/such/file",), patience_seconds=300.0
    )
    nodes = ask(api, question).nodes
    assert [node.labels["role"] for node in sorted(nodes, key=lambda node: not node.is_head)] == ["head", "train"]
    for node in nodes:
        assert node.error == ""
        assert node.checks["storage"] == ""
        assert node.checks["tracking"].startswith("does not answer")
        assert node.checks["paths"] == {"/no/such/file": "is not there"}
        assert abs(node.clock_ahead_seconds) < 1
        assert node.packages["ray"]
    assert [job for job in api.jobs() if job.submission_id.startswith("rayox-probe")] == []
