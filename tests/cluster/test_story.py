"""The whole story as a user lives it: from an empty folder with only the wheel to `cluster down`, faults on the way.

The tests are its chapters, in this order and on one cluster; `--durations=0` times them.
"""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from campaign_runs import CAMPAIGN, RECIPE
from patience import wait_until

from rayox.drill_run import strike
from rayox_cluster.access import find_cluster
from rayox_cluster.cluster_record import ClusterRecord, read_record
from rayox_cluster.jobs_api import JobsApi
from rayox_cluster.packaging import build_wheel
from rayox_cluster.processes import marked
from rayox_platform.runs.event_kinds import Progress, RunEvent, Start
from rayox_platform.runs.overview import read_run
from rayox_platform.runs.places import open_runs

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]


class Shell:
    """An empty folder whose Python has rayox as its wheel unpacks it, and nothing of the checkout before that."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_", "MLFLOW_"))}
        self._environment = kept | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        self.record: ClusterRecord | None = None

    @property
    def api(self) -> JobsApi:
        return JobsApi(find_cluster(None, self.folder / ".rayox")[0])

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "rayox", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=pipe, stderr=pipe, text=True)

    def rayox(self, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
        """The result of a verb and all that it has said beside that."""
        verb, *rest = words  # what follows -- is the job's own
        return ended(self.start(verb, *(["--json", *rest] if verb == "submit" else [*rest, "--json"])), code)

    def run(self, name: str) -> Any:
        return read_run(open_runs(str(self.folder / ".rayox" / "runs")).home(name))

    def events(self, name: str) -> list[RunEvent]:
        return open_runs(str(self.folder / ".rayox" / "runs")).home(name).events.read()


def ended(process: "subprocess.Popen[str]", code: int = 0) -> tuple[dict[str, Any], str]:
    said, noted = process.communicate()
    assert process.returncode == code, f"{said}\n{noted}"
    return json.loads(said.splitlines()[-1]), noted


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    zipfile.ZipFile(io.BytesIO(build_wheel())).extractall(site)
    shell = Shell(folder, site)
    yield shell
    with suppress(OSError):
        shell.start("cluster", "down").communicate()
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)


@pytest.fixture(scope="module")
def training(shared_data):
    """A training of two workers that do not fit on one node of a CPU, as words after the verb."""
    folder = shared_data / "rbc_wbc"
    data = [f"data.{split}.annotations={folder}/annotations/instances_{split}.json" for split in ("train", "val")]
    data += [f"data.{split}.images={folder}/images" for split in ("train", "val")]
    size = ["image_size=64", "train.batch_size=16", "train.multi_scale=0", "train.spares=false", "data.lanes=4"]
    phases = ["train.closing_epochs=0", "train.warmup_epochs=0.5", "checkpoint.every_steps=5", "train.max_failures=5"]
    return ["scratch", *data, *size, *phases, "train.workers=2", "train.cpus_per_worker=0.6"]


def test_a_cluster_is_up_in_an_empty_folder(shell):
    up, _ = shell.rayox("cluster", "up", "--nodes", "3", "--cpus-per-node", "1")
    assert up["nodes"] == 3
    shell.record = read_record(shell.folder / ".rayox")
    assert {one.name for one in shell.folder.iterdir()} == {".rayox"}


def test_a_training_of_two_workers_on_two_nodes_is_followed_to_its_end(shell, training):
    told, noted = shell.rayox("submit", "--follow", "--", "train", *training, "train.epochs=1", "--name", "blood")
    assert told["status"] == "succeeded"
    assert "sent: settings" in noted
    assert "epoch 1/1  AP" in noted
    (start,) = [event for event in shell.events("blood") if isinstance(event, Start)]
    assert len(set(start.nodes)) == start.workers == 2, "as the workers themselves have said"
    assert shell.run("blood").state == "finished"
    assert shell.run("blood").result["registered"] == "models:/scratch/1"


def test_the_same_again_is_found(shell, training):
    told, noted = shell.rayox("submit", "--follow", "--", "train", *training, "train.epochs=1", "--name", "blood")
    assert "nothing was submitted" in noted
    assert told["status"] == "succeeded"
    assert len(jobs_of(shell, "blood")) == 1


def test_its_log_can_be_read(shell):
    process = shell.start("runs", "logs", "blood")
    said, _ = process.communicate()
    kinds = [line.split()[2] for line in said.splitlines()]
    assert kinds[0] == "stage"
    assert {"start", "progress", "checkpoint", "epoch"} < set(kinds)


def test_a_stopped_run_has_saved_and_goes_on_when_it_is_submitted_again_though_a_node_is_killed(shell, training):
    words = ["--", "train", *training, "train.epochs=12", "train.evaluate_every=12", "--name", "long"]
    job, _ = shell.rayox("submit", *words)
    assert job["status"] in ("running", "pending")
    stepped(shell, "long", 8)
    stopped, _ = shell.rayox("runs", "stop", "long")
    assert stopped["state"] == "interrupted"
    assert stopped["step"] >= 8
    assert shell.run("long").checkpoint is not None

    process = shell.start("submit", "--json", "--follow", *words)
    stepped(shell, "long", stopped["step"] + 6, process)
    hit, struck_at = strike(shell.api, "node", jobs_of(shell, "long")[-1])
    assert hit.startswith("node")
    told, noted = ended(process)
    assert "going on with it" in noted
    assert told["submission_id"].endswith("-2")
    starts = [event for event in shell.events("long") if isinstance(event, Start)]
    assert len(starts) == 3, starts
    assert starts[1].step == stopped["step"], "a stop saves first"
    assert starts[2].time > struck_at
    assert not any(node.startswith(hit.removeprefix("node ")) for node in starts[2].nodes)
    assert shell.run("long").state == "finished"


def test_a_campaign_of_four_trials(shell, toy_data):
    split = {"images": str(toy_data / "images")}
    sets = {name: split | {"annotations": str(toy_data / f"{name}.json")} for name in ("train", "val")}
    (shell.folder / "toy.yaml").write_text(yaml.safe_dump(RECIPE | {"data": sets | {"lanes": 4}}))
    (shell.folder / "mine.yaml").write_text(yaml.safe_dump(CAMPAIGN))
    told, noted = shell.rayox("submit", "--follow", "--", "tune", "mine.yaml")
    assert told["status"] == "succeeded", noted
    listed, _ = shell.rayox("tune", "list")
    (campaign,) = listed["campaigns"]
    assert (campaign["name"], campaign["state"]) == ("mine", "finished")
    assert campaign["trials"] == 4


def test_a_drill_says_what_was_lost_against_what_is_promised(shell, training):
    fits = ["train.cpus_per_worker=0.3", "train.epochs=40", "train.evaluate_every=40"]
    told, noted = shell.rayox("drill", *training, *fits, "--faults", "tracking,storage,worker", "--outage", "5")
    assert told["ok"], noted
    assert [(one["fault"], one["as_promised"]) for one in told["faults"]] == [
        ("tracking", True),
        ("storage", True),
        ("worker", True),
    ]
    assert all(one["steps_lost"] == 0 for one in told["faults"][:2])
    assert told["status"] == "succeeded"
    assert shell.run(told["run"]).state == "finished"


def test_a_follower_whose_head_loses_its_dashboard_sees_the_end(shell, training):
    """SIGTERM, as it is with its process alone: of a dashboard that was killed `ray start` ends the whole head."""
    fits = ["train.cpus_per_worker=0.3"]  # on the two nodes that are left
    words = ["--", "train", *training, *fits, "train.epochs=6", "train.evaluate_every=6", "--name", "headless"]
    process = shell.start("submit", "--json", "--follow", *words)
    stepped(shell, "headless", 8, process)
    (dashboard,) = [one for one in marked(shell.record.mark) if "dashboard.py" in " ".join(one.cmdline())]
    dashboard.send_signal(signal.SIGTERM)
    dashboard.wait(60)
    with pytest.raises(requests.ConnectionError):
        requests.get(shell.record.dashboard, timeout=5)
    told, noted = ended(process)
    assert "the run goes on without it" in noted
    assert told["status"] == "succeeded"
    assert shell.run("headless").state == "finished"


def test_nothing_is_left_when_the_cluster_is_down(shell):
    record = shell.record
    ports = listening(record)
    assert len(ports) > 4
    down, _ = shell.rayox("cluster", "down")
    assert down["ended"] > 4
    assert marked(record.mark) == []
    assert not Path(record.temp_folder).exists()
    assert not record.token_path.exists()
    assert not ports & {one.laddr.port for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    assert shell.rayox("cluster", "status")[0] == {"up": False, "nodes": 0}
    assert shell.run("blood").state == "finished", "its runs are still there"


def listening(record: ClusterRecord) -> set[int]:
    found = set()
    for process in marked(record.mark):
        with suppress(psutil.NoSuchProcess):  # a worker may end just now
            found |= {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    return found


def jobs_of(shell: Shell, run: str) -> list[Any]:
    jobs = [job for job in shell.api.jobs() if job.metadata.get("rayox_run") == run]
    return sorted(jobs, key=lambda job: job.start_time)


def stepped(shell: Shell, run: str, step: int, follower: "subprocess.Popen[str] | None" = None) -> None:
    def has() -> bool:
        assert follower is None or follower.poll() is None, follower.communicate()
        return any(isinstance(event, Progress) and event.step >= step for event in shell.events(run))

    wait_until(has, 300, f"{run} has not come to step {step}")
