"""Data tasks on the CPU nodes and workers on the training nodes, as their labels say: asked inside both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayox_cluster.jobs_api import JobsApi
from rayox_cluster.local_nodes import down, up
from rayox_cluster.preflight import Question, ask

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]
ROLES = ("head", "data", "train")
TESTS = Path(__file__).parents[1]


def test_data_and_workers_run_where_their_labels_say(tmp_path, toy_data):
    state, notes = tmp_path / "state", tmp_path / "notes"
    notes.mkdir()
    record = up(state, 3, 2, lambda text: None, tuple({"rayox.io/role": role} for role in ROLES))
    try:
        token = {"Authorization": f"Bearer {record.token_path.read_text()}"}
        nodes = ask(JobsApi(record.dashboard, token), Question()).nodes
        roles = {node.node: node.labels["rayox.io/role"] for node in nodes}
        assert sorted(roles.values()) == sorted(ROLES)
        script = Path(__file__).with_name("placed_run.py")
        command = [sys.executable, str(script), str(state), str(toy_data), str(notes)]
        environment = os.environ | {"PYTHONPATH": str(TESTS / "ray"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.split()[-1] == "3"
        seen = {tuple(note.name.split("-", 1)) for note in notes.iterdir()}
        assert {(kind, roles[node]) for kind, node in seen} == {("data", "data"), ("train", "train")}
    finally:
        down(state)
