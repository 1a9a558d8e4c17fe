"""A real cluster of two nodes on this machine: started, looked at from another process, ended without a trace."""

import json
import re

import psutil
import pytest
from another_shell import headers, rayox
from patience import wait_until

from rayox.submit import wait_for_start
from rayox.terminal.console import Console
from rayox_cluster import preflight
from rayox_cluster.jobs_api import JobRequest, JobsApi
from rayox_cluster.local_nodes import up
from rayox_cluster.loopback_node import LOOPBACK
from rayox_cluster.preflight import Question, ask
from rayox_cluster.processes import marked
from rayox_model.core.errors import ClusterError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


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


@pytest.mark.parametrize(
    ("cpus", "labels", "said"),
    [
        (
            0.0,
            {"role": "!train", "site": "here"},
            "a process on a node with role=!train, site=here; no node has such labels",
        ),
        (8.0, {}, "8 CPU on a node; the largest has 1 CPU, which is the most that fits"),
    ],
)
def test_a_job_that_does_not_start_says_what_it_waits_for_and_what_would_fit(
    cluster, monkeypatch, capsys, cpus, labels, said
):
    _, record = cluster
    api, name = JobsApi(record.dashboard, headers(record)), f"waits-{cpus:g}"
    api.submit(JobRequest(name, "python -c pass", {}, {}, cpus, labels))
    wait_until(lambda: api.waiting_driver(name) is not None)
    monkeypatch.setattr(preflight, "START_SECONDS", 1.0)
    train = {"workers": 2, "cpus_per_worker": 1.0, "nodes": "role=in(head;train)"}
    recipe = json.dumps({"name": "mine", "train": train}).encode()
    job = wait_for_start(api, name, Console(), recipe)
    assert job.status == "PENDING"
    told = capsys.readouterr().err
    assert f"{name} has not started for 1 s: Job has not started yet" in told
    assert said in told
    assert len(re.findall(r"node \w{8} \(127\.0\.0\.1\) has 1 CPU, \d", told)) == 2, "each node is told of"
    assert "role=train" in told
    assert "2 workers at 1 CPU do not fit now; train.workers=1 or train.cpus_per_worker=0.34 would" in told
    api.stop(name)


def test_every_node_is_asked_about_the_storage_that_a_job_would_use(cluster):
    """One node after the other, over the Jobs API; what cannot be written is told with its node."""
    _, record = cluster
    api = JobsApi(record.dashboard, headers(record))
    checks, nobody = "rayox.submission.node_checks", f"http://{LOOPBACK}:9"
    question = Question(checks, record.storage, nobody, ("/no/such/file",), patience_seconds=300.0)
    nodes = ask(api, question).nodes
    assert [node.labels["role"] for node in sorted(nodes, key=lambda node: not node.is_head)] == ["head", "train"]
    for node in nodes:
        assert node.error == ""
        assert node.checks["storage"] == ""
        assert node.checks["tracking"].startswith("does not answer")
        assert node.checks["paths"] == {"/no/such/file": "is not there"}
        assert abs(node.clock_ahead_seconds) < 1
        assert node.packages["ray"]

    def nothing_is_left() -> bool:
        preflight.forget_probes(api, seconds=0.0)
        return not [job for job in api.jobs() if job.submission_id.startswith(preflight.PREFIX)]

    wait_until(nothing_is_left)
