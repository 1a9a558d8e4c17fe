"""Verbs as jobs of a real cluster, and the doctor on it; minutes on a busy machine."""

import json

import pytest
from another_shell import headers, rayox
from patience import wait_until

from rayox.submit import attempts
from rayox_cluster.jobs_api import JobRequest, JobsApi
from rayox_cluster.loopback_node import LOOPBACK

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]


def test_the_doctor_finds_it_sound_and_a_planted_fault_with_its_node(cluster):
    state, _ = cluster
    sound = rayox(state, "doctor", "--json", "--timeout", "300")
    assert sound.returncode == 0, sound.stderr
    checks = {check["check"]: check["verdict"] for check in json.loads(sound.stdout.splitlines()[-1])["checks"]}
    assert checks["storage"] == checks["tracking"] == checks["auth"] == checks["all-reduce"] == "ok"
    closed = rayox(
        state, "doctor", "storage=/proc/rayox", f"tracking.uri=http://{LOOPBACK}:9", "--json", "--timeout", "300"
    )
    assert closed.returncode == 2, closed.stderr
    found = [check for check in json.loads(closed.stdout.splitlines()[-1])["checks"] if check["verdict"] == "error"]
    assert {check["check"] for check in found} == {"storage", "tracking"}
    assert all("node " in check["detail"] and check["fix"] for check in found)


def test_a_verb_runs_as_a_job_and_again_when_that_has_ended(cluster, toy_data):
    state, record = cluster
    words = ["submit", "--json", "--follow", "--", "data", "stats", str(toy_data / "train.json")]
    first = rayox(state, *words)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout.splitlines()[-1])
    assert told["status"] == "succeeded", first.stderr
    again = rayox(state, *words)
    assert "nothing was submitted" not in again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["submission_id"] == f"{told['submission_id']}-2"
    api = JobsApi(record.dashboard, headers(record))
    assert len(attempts(api.jobs(), told["submission_id"])) == 2


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
    wait_until(lambda: "up" in api.logs("slow-to-stop").splitlines(), 240)
    api.stop("slow-to-stop")
    wait_until(lambda: api.find("slow-to-stop").is_over, 240)
    assert api.find("slow-to-stop").status == "STOPPED"
    assert api.logs("slow-to-stop").splitlines()[-1] == "saved"
