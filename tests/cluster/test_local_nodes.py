"""A real cluster of two nodes on this machine: started, used from other processes, ended without a trace."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests

from rayox.submit import attempts
from rayox_cluster.cluster_record import ClusterRecord, read_record
from rayox_cluster.jobs_api import JobRequest, JobsApi
from rayox_cluster.local_nodes import down, up
from rayox_cluster.loopback_node import LOOPBACK
from rayox_cluster.processes import marked
from rayox_model.core.errors import ClusterError

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(600)]


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


def headers(record: ClusterRecord) -> dict[str, str]:
    return {"Authorization": f"Bearer {record.token_path.read_text()}"}


def rayox(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In another process, as from another shell; it knows nothing but the state folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_", "MLFLOW_"))}
    command = [sys.executable, "-m", "rayox", *words]
    environment = kept | {"RAYOX_STATE": str(state)}
    return subprocess.run(command, capture_output=True, text=True, cwd=state, env=environment, check=False)


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


def test_the_doctor_finds_it_sound_and_a_planted_fault_with_its_node(cluster):
    state, _ = cluster
    sound = rayox(state, "doctor", "--json")
    assert sound.returncode == 0, sound.stderr
    checks = {check["check"]: check["verdict"] for check in json.loads(sound.stdout.splitlines()[-1])["checks"]}
    assert checks["storage"] == checks["tracking"] == checks["auth"] == checks["all-reduce"] == "ok"
    closed = rayox(state, "doctor", "storage=/proc/rayox", f"tracking.uri=http://{LOOPBACK}:9", "--json")
    assert closed.returncode == 2, closed.stderr
    found = [check for check in json.loads(closed.stdout.splitlines()[-1])["checks"] if check["verdict"] == "error"]
    assert {check["check"] for check in found} == {"storage", "tracking"}
    assert all("node " in check["detail"] and check["fix"] for check in found)


def test_a_verb_runs_as_a_job_once(cluster, toy_data):
    """A second submit finds the first one's job, also when that has finished."""
    state, record = cluster
    words = ["submit", "--json", "--follow", "--", "data", "stats", str(toy_data / "train.json")]
    first = rayox(state, *words)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout.splitlines()[-1])
    assert told["status"] == "succeeded", first.stderr
    again = rayox(state, *words)
    assert "nothing was submitted" in again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["submission_id"] == told["submission_id"]
    api = JobsApi(record.dashboard, headers(record))
    assert len(attempts(api.jobs(), told["submission_id"])) == 1


def test_a_job_that_fails_ends_submit_as_its_verb_ends(cluster):
    state, _ = cluster
    failed = rayox(state, "submit", "--json", "--follow", "--", "models", "show", "no-such-model")
    alone = rayox(state, "models", "show", "no-such-model")
    assert failed.returncode == alone.returncode == 4, failed.stderr
    assert alone.stderr.splitlines()[0] in failed.stderr
    assert json.loads(failed.stdout.splitlines()[-1])["status"] == "failed"


def test_a_job_that_was_stopped_has_had_the_time_to_say_so(cluster):
    """Ray's own three seconds are not enough for a checkpoint."""
    _, record = cluster
    api = JobsApi(record.dashboard, headers(record))
    handler = "lambda *signal: (time.sleep(5), print('saved'), sys.exit(0))"
    code = f"import signal, sys, time; signal.signal(15, {handler}); print('up', flush=True); time.sleep(600)"
    environment = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    api.submit(JobRequest("slow-to-stop", f'python -c "{code}"', environment, {}))
    _until(lambda: "up" in api.logs("slow-to-stop").splitlines())
    api.stop("slow-to-stop")
    _until(lambda: api.find("slow-to-stop").is_over)
    assert api.find("slow-to-stop").status == "STOPPED"
    assert api.logs("slow-to-stop").splitlines()[-1] == "saved"


def _until(is_done, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _ports(record: ClusterRecord) -> list[str]:
    return [record.dashboard, record.tracking, f"http://{record.address}"]


def _answers(url: str) -> bool:
    try:
        requests.get(url, timeout=5)
    except requests.exceptions.ConnectionError as error:
        return "refused" not in str(error)
    return True
