"""A named cluster that answers and still cannot run anything: one message instead of waiting forever."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patient

from rayox_cluster.connection import require_version
from rayox_model.core.errors import ClusterError

pytestmark = pytest.mark.ray
TOKEN = "a" * 40
REACH = """
import sys
from rayox_cluster.address import Address
from rayox_cluster.connection import reach
from rayox_model.core.errors import ClusterError
try:
    reach(Address(sys.argv[1], "--address"))
except ClusterError as error:
    print(error.message, error.hint, sep="\\n")
"""
PATIENT = """
import sys
from rayox_cluster import connection
from rayox.cli import main
connection.PROCESS_SECONDS = 6.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_cluster_has_to_have_this_version(cluster):
    require_version("here", "pytest", pytest.__version__)
    with pytest.raises(ClusterError, match=r"the cluster at here has pytest .*, this machine has 0\.1"):
        require_version("here", "pytest", "0.1")
    with pytest.raises(ClusterError, match="the cluster at here has no rayox-of-tomorrow"):
        require_version("here", "rayox-of-tomorrow", "9")


@pytest.fixture(scope="module")
def token_cluster() -> Iterator[str]:
    """The address of a cluster that asks for a token."""
    script = Path(__file__).with_name("spaced_cluster.py")
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    command = [sys.executable, script, sys.executable]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("variables", "said", "advice"),
    [
        ({}, "asks for a token, and RAY_AUTH_MODE is not set here", "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token"}, "does not take the token of this machine", "set RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 40}, "does not take the token", "cluster's own token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}, "", ""),
    ],
)
def test_a_cluster_that_asks_for_a_token_says_so(token_cluster, tmp_path, variables, said, advice):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", REACH, token_cluster],
        capture_output=True,
        text=True,
        env=clean | {"HOME": str(tmp_path)} | variables,  # no token in the home folder either
        timeout=patient(100),
        check=True,
    )
    message, _, hint = done.stdout.partition("\n")
    assert said in message
    assert advice in hint
    assert bool(message) == bool(said)
    assert TOKEN not in done.stdout + done.stderr


@pytest.fixture
def spaced_cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster whose Python lies at a path with a space."""
    home = tmp_path / "a venv"
    home.symlink_to(Path(sys.executable).parent.parent)
    script = Path(__file__).with_name("spaced_cluster.py")
    command = [sys.executable, script, str(home / "bin" / Path(sys.executable).name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_a_cluster_that_starts_no_process_is_left(spaced_cluster, toy_data, tmp_path):
    settings = [f"data.{split}.{what}" for split in ("train", "val") for what in ("annotations", "images")]
    places = [f"{toy_data}/{split}" for split in ("train.json", "images", "val.json", "images")]
    data = [f"{name}={place}" for name, place in zip(settings, places, strict=True)]
    command = [sys.executable, "-c", PATIENT, "train", "scratch", *data, "--address", spaced_cluster, "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), timeout=patient(150), check=False
    )
    assert done.returncode == 6, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["message"] == f"the cluster at {spaced_cluster} has started no process for 6 s"
    assert "a Python whose path has a space" in error["hint"]
    assert not list((tmp_path / ".rayox" / "runs").glob("*/checkpoints"))
