"""Three real nodes of two CPUs: settings that no node can hold are refused at once, by the command, with what fits."""

import json
import os
import subprocess
import sys

import pytest
from patience import patient
from small_cluster import three_nodes

pytestmark = [pytest.mark.ray, pytest.mark.faults]
NODE = {"num_cpus": 2, "object_store_memory": 200 * 2**20}


def refused(address, toy_data, folder, *settings):
    splits = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
    images = [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]
    command = [sys.executable, "-m", "rayox", "train", "scratch", *splits, *images, *settings]
    done = subprocess.run(
        [*command, "--address", address, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=patient(200),
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert not list((folder / ".rayox" / "runs").glob("*/checkpoints"))
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    return error["message"], error["hint"]


@pytest.mark.timeout(600)
def test_what_no_node_can_hold_is_refused_before_anything_starts(toy_data, tmp_path):
    with three_nodes(**NODE) as cluster:
        too_large = refused(cluster.address, toy_data, tmp_path, "train.workers=1", "train.cpus_per_worker=4")
        no_data = refused(cluster.address, toy_data, tmp_path, "train.workers=3", "train.cpus_per_worker=1.6")
    assert "train.cpus_per_worker: no machine has 4 CPUs for a worker: " in too_large[0]
    assert too_large[0].endswith("have 2 CPUs")
    assert too_large[1] == "set train.cpus_per_worker=2, the most that fits"
    assert "3 workers at 1.6 CPU leave no machine 0.66 CPU for data" in no_data[0]
    assert no_data[1] == "set train.workers=2 or train.cpus_per_worker=1.34, the most that fits"
