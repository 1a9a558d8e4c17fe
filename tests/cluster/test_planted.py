"""Faults planted in a real node, each of which the doctor finds on that node alone: what it has mounted is its own."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from another_shell import rayox

from rayox_cluster import local_nodes
from rayox_cluster.local_nodes import down, up
from rayox_cluster.loopback_node import LOOPBACK
from rayox_cluster.processes import start

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]

MOUNTS = """
set -e
runs=$1 data=$2 temp=$3; shift 3
mount -t tmpfs -o size=500m tmpfs /dev/shm
mount --bind "$runs" "$runs"
mount -o remount,ro,bind "$runs"
mount -t tmpfs tmpfs "$data/images"
mount --bind "$data/another.json" "$data/val.json"
mkdir -p "$temp"
mount -t tmpfs -o size=1g tmpfs "$temp"
exec "$@"
"""


@pytest.fixture(scope="module")
def sick(tmp_path_factory, toy_data):
    """(state folder, data) of a cluster whose head is sound and whose other node is not."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to give a process mounts of its own (unshare -m)")
    state, data = tmp_path_factory.mktemp("sick"), tmp_path_factory.mktemp("data") / "toy"
    shutil.copytree(toy_data, data)
    (data / "another.json").write_text((data / "val.json").read_text() + " ")
    record = up(state, 1, 1, lambda text: None)
    node = [*local_nodes._node_command(record, 1), "--num-gpus", "1", "--labels", "role=sick"]
    command = ["unshare", "-m", "sh", "-c", MOUNTS, "sh", record.storage, str(data), f"{record.temp_folder}/1", *node]
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    environment = local_nodes.RAY_SETTINGS | record.node_environment() | {"PATH": path}
    started = record.and_started("node1", start(command, local_nodes._log(record, "node1"), environment))
    started.write()
    url = f"{record.dashboard}/nodes?view=summary"
    local_nodes._when_ready(started, url, lambda answer: local_nodes._num_alive(answer) == 2, {})
    yield state, data
    down(state)


@pytest.fixture(scope="module")
def found(sick):
    """Every error and warning of the doctor, by what was checked."""
    state, data = sick
    words = [f"data.{split}.annotations={data}/{split}.json" for split in ("train", "val")]
    words += [f"data.{split}.images={data}/images" for split in ("train", "val")]
    said = rayox(state, "doctor", "finetune", *words, f"data.train.images={data}/absent", "--json", "--timeout", "300")
    assert said.returncode == 6, said.stderr
    checks = json.loads(said.stdout.splitlines()[-1])["checks"]
    return {kind: [one for one in checks if one["check"] == kind] for kind in {one["check"] for one in checks}}


@pytest.mark.parametrize(
    ("check", "verdict", "said"),
    [
        ("disks", "error", "GiB free for Ray's files"),
        ("shared memory", "warning", "has 500 MiB in /dev/shm"),
        ("gpus", "error", "gives Ray 1 GPUs, and its driver shows 0"),
        ("storage", "error", "cannot be written (Read-only file system)"),
        ("data", "error", "val.json is not the same file on every node"),
    ],
)
def test_the_fault_is_told_with_its_remedy(found, check, verdict, said):
    told = [one for one in found[check] if said in one["detail"]]
    assert [one["verdict"] for one in told] == [verdict], found[check]
    assert told[0]["fix"]


def test_what_is_sound_is_not_blamed(found):
    for check in ("python", "packages", "opencv", "clocks", "tracking", "all-reduce", "auth"):
        assert [one["verdict"] for one in found[check]] == ["ok"], found[check]
    assert len(found["disks"]) == len(found["gpus"]) == len(found["storage"]) == 1, "the head is not told of"
    assert "node" in found["disks"][0]["detail"]


def test_a_submit_is_refused_by_the_same_look(sick):
    state, data = sick
    words = [f"data.{split}.annotations={data}/{split}.json" for split in ("train", "val")]
    words += [f"data.{split}.images={data}/images" for split in ("train", "val")]
    refused = rayox(state, "submit", "--json", "--", "train", "finetune", *words)
    assert refused.returncode == 6
    assert "Read-only file system" in json.loads(refused.stdout.splitlines()[-1])["error"]["message"]


def test_a_dead_tracking_server_and_a_dead_dashboard_are_each_told(sick):
    state, _ = sick
    dead = f"http://{LOOPBACK}:9"
    for words, check, said in (
        ([f"tracking.uri={dead}"], "tracking", "MLflow does not answer"),
        (["--address", dead], "cluster", "no Ray dashboard answers"),
    ):
        said_of_it = rayox(state, "doctor", "--json", "--timeout", "300", *words)
        told = json.loads(said_of_it.stdout.splitlines()[-1])["checks"]
        assert any(one["check"] == check and said in one["detail"] for one in told), told
