"""The cluster goes away under a run: its driver says so with a cluster's exit code, and the storage has the reason."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patient, wait_until

from rayox_platform.runs.event_kinds import Checkpoint, Start
from rayox_platform.runs.events import read_events
from rayox_platform.runs.overview import read_run
from rayox_platform.runs.places import open_runs

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(600)]


SETTINGS = {"OMP_NUM_THREADS": "1", "RAY_gcs_rpc_server_reconnect_timeout_s": "40"}


@pytest.fixture
def lasting_cluster() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A cluster of one node in a process of its own: its address and that process."""
    script = Path(__file__).with_name("spaced_cluster.py")
    command = [sys.executable, script, sys.executable]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip(), process
        process.stdin.close()


def child_of(parent: int, name: str) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "stat").exists():
            comm, _, rest = (entry / "stat").read_text().rpartition(")")
            if name in comm and int(rest.split()[1]) == parent:
                return int(entry.name)
    raise AssertionError(f"no {name}")


@pytest.mark.parametrize("trained", [False, True])
def test_a_dead_head_is_told_from_a_failed_training(lasting_cluster, toy_data, tmp_path, trained):
    address, cluster = lasting_cluster
    data = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
    data += [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]
    small = ["image_size=64", "train.epochs=400", "train.batch_size=8", "data.lanes=4", "train.workers=2"]
    small += ["train.evaluate_every=1000", "checkpoint.every_steps=5", "--name", "run"]
    with (tmp_path / "errors.txt").open("w") as errors:
        driver = subprocess.Popen(
            [sys.executable, "-m", "rayox", "train", "scratch", *data, *small, "--address", address, "--json"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "RAYOX_STATE"} | SETTINGS,
        )
    run = tmp_path / ".rayox" / "runs" / "run"
    wanted = Checkpoint if trained else Start

    def has_begun() -> bool:
        assert driver.poll() is None, (tmp_path / "errors.txt").read_text()
        return any(isinstance(event, wanted) for event in read_events(run))

    wait_until(has_begun, 300)
    os.kill(child_of(cluster.pid, "gcs_server"), signal.SIGKILL)
    killed = time.monotonic()
    out, _ = driver.communicate(timeout=patient(250))
    said = (tmp_path / "errors.txt").read_text()
    print(f"ended {time.monotonic() - killed:.0f} s after the head had died\n{out}\n{said[-3000:]}")
    assert driver.returncode == 6
    error = json.loads(out.splitlines()[-1])["error"]
    assert f"the cluster at {address} is gone" in error["message"]
    steps = max((event.step for event in read_events(run) if isinstance(event, Checkpoint)), default=0)
    assert ("has trained no step" in error["hint"]) == (steps == 0)
    seen = read_run(open_runs(str(run.parent)).home("run"))
    assert (seen.state, seen.exit_code, seen.reason) == ("failed", 6, error["message"])
