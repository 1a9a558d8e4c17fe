"""A cluster whose CPUs are all taken: the command says so with the numbers, and leaves nothing behind."""

import json
import os
import subprocess
import sys

import pytest
import ray
from patience import patient

pytestmark = pytest.mark.ray

RECIPE = """
image_size: 64
data:
  train: {{annotations: {data}/train.json, images: {data}/images}}
  val: {{annotations: {data}/val.json, images: {data}/images}}
model: {{size: nano}}
train: {{epochs: 2, batch_size: 8, workers: 2, closing_epochs: 0, warmup_epochs: 0}}
"""


@ray.remote(num_cpus=1)
class Busy:
    def ready(self):
        return True


@pytest.fixture
def full_cluster(cluster):
    actors = [Busy.remote() for _ in range(2)]
    ray.get([actor.ready.remote() for actor in actors])
    yield ray.get_runtime_context().gcs_address
    for actor in actors:
        ray.kill(actor)


def test_no_cpu_left_is_refused_with_the_numbers_and_nothing_is_made(full_cluster, toy_data, tmp_path):
    (tmp_path / "toy.yaml").write_text(RECIPE.format(data=toy_data))
    done = subprocess.run(
        [sys.executable, "-m", "rayox", "train", "toy.yaml", "--name", "none", "--address", full_cluster, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=patient(200),
        check=False,
    )
    assert done.returncode == 6, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["code"] == "cluster"
    assert "but 0 are free (2 of 2 are in use)" in error["message"]
    assert "wait for the others to finish" in error["hint"]
    assert not (tmp_path / ".rayox" / "runs" / "none").exists()
