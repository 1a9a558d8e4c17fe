"""A verb inside a Ray job, as `ray job submit --working-dir` starts it: it joins that cluster, and keeps its run."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from patience import patient, wait_until
from ray.job_submission import JobStatus, JobSubmissionClient

from rayox_cluster.local import RAY_SETTINGS
from rayox_platform.runs.event_kinds import Progress
from rayox_platform.runs.overview import read_run
from rayox_platform.runs.places import open_runs

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]

RECIPE = """
image_size: 64
data:
  lanes: 4
  train: {{annotations: {data}/train.json, images: {data}/images}}
  val: {{annotations: {data}/val.json, images: {data}/images}}
model: {{size: nano}}
train: {{epochs: {epochs}, batch_size: 8, workers: 1, closing_epochs: 0, warmup_epochs: 0, evaluate_every: 1000}}
"""


@pytest.fixture
def client(monkeypatch) -> Iterator[JobSubmissionClient]:
    """A client of a cluster of this machine that takes jobs."""
    for name, value in RAY_SETTINGS.items():
        monkeypatch.setenv(name, value)
    folder = Path(tempfile.mkdtemp(prefix="rx-", dir="/tmp"))
    options = {
        "logging_level": "ERROR",
        "log_to_driver": False,
        "_temp_dir": str(folder),
        "dashboard_host": "127.0.0.1",
    }
    try:
        context = ray.init(address="local", num_cpus=2, include_dashboard=True, dashboard_port=0, **options)
        yield JobSubmissionClient(f"http://{context.address_info['webui_url']}")
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def submit(client: JobSubmissionClient, project: Path, *words: str, **environment: str) -> str:
    return str(
        client.submit_job(
            entrypoint=" ".join([sys.executable, "-m", "rayox", "train", "toy.yaml", "--name", "job", *words]),
            runtime_env={"working_dir": str(project), "env_vars": {"OMP_NUM_THREADS": "1"} | environment},
        )
    )


def wait_for(client: JobSubmissionClient, job: str, seconds: float = 400) -> JobStatus:
    end = time.monotonic() + patient(seconds)
    while not (status := client.get_job_status(job)).is_terminal():
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.5)
    return status


@pytest.fixture
def project(toy_data, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "toy.yaml").write_text(RECIPE.format(data=toy_data, epochs=1))
    return folder


def test_a_job_joins_its_cluster_and_does_not_lose_its_run(client, project, tmp_path):
    lost = submit(client, project)
    assert wait_for(client, lost) == JobStatus.FAILED
    assert "is this Ray job's own copy of a folder, which Ray removes with it" in client.get_job_logs(lost)
    kept = submit(client, project, f"storage={tmp_path}/runs", RAYOX_STATE=str(tmp_path / "state"))
    assert wait_for(client, kept) == JobStatus.SUCCEEDED, client.get_job_logs(kept)
    run = read_run(open_runs(str(tmp_path / "runs")).home("job"))
    assert (run.state, run.step) == ("finished", 3)


def test_a_job_that_is_stopped_leaves_an_interrupted_run(client, toy_data, project, tmp_path):
    (project / "toy.yaml").write_text(RECIPE.format(data=toy_data, epochs=400))
    job = submit(client, project, f"storage={tmp_path}/runs", RAYOX_STATE=str(tmp_path / "state"))
    home = open_runs(str(tmp_path / "runs")).home("job")
    end = time.monotonic() + patient(300)
    while not any(isinstance(event, Progress) for event in home.events.read()):
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.3)
    client.stop_job(job)
    assert wait_for(client, job) == JobStatus.STOPPED
    wait_until(lambda: read_run(home).state != "running", 100)
    run = read_run(home)
    assert (run.state, run.exit_code) == ("interrupted", 130)
    assert "stopped by a signal" in run.reason
