"""`cluster up` by a Python whose path has a space, which Ray would hand to a shell as it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(600)]


def test_its_nodes_start_and_are_as_a_job_would_want_them(tmp_path):
    home = tmp_path / "a venv"
    home.symlink_to(Path(sys.executable).parent.parent)
    python = str(home / "bin" / Path(sys.executable).name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_"))}

    def rayox(*words: str) -> dict:
        command = [python, "-m", "rayox", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    try:
        assert rayox("cluster", "up", "--nodes", "2", "--cpus-per-node", "1")["nodes"] == 2
        checks = rayox("doctor", "--timeout", "300")["checks"]
        assert [one for one in checks if one["verdict"] == "error"] == []
        (python_of_nodes,) = [one for one in checks if one["check"] == "python"]
        assert "on 2 nodes" in python_of_nodes["detail"]
    finally:
        rayox("cluster", "down")
