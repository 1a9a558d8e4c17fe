"""What stops a training before it begins: the documented exit code, one message, and nothing half made."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from object_store import point_to
from patience import patient

from rayox_platform.runs.run_lock import claimed
from rayox_platform.track.tracking import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def train(rayox, toy_data, monkeypatch):
    """`rayox train` on the toy data under the name mine; it must not come as far as starting Ray."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    images = toy_data / "images"
    data = [f"data.{split}.{key}" for split in ("train", "val") for key in ("annotations", "images")]
    values = (toy_data / "train.json", images, toy_data / "val.json", images)
    given = [f"{key}={value}" for key, value in zip(data, values, strict=True)]

    def run(*more: object):
        said = rayox("train", "scratch", *given, "image_size=64", "name=mine", *more, "--json")
        assert "ray" not in {line.split()[1:2] == ["starting"] and "ray" for line in said.err.splitlines()}
        assert "Traceback" not in said.err
        assert said.err.count("error:") == 1
        return said

    return run


def test_a_tracking_server_that_does_not_answer(train):
    with socket.socket() as taken:  # bound, never listening: nothing can answer there
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = train(f"tracking.uri={uri}")
    assert said.exit_code == 9
    assert f"tracking.uri: cannot keep runs at {uri}" in said.result["error"]["message"]
    assert not Path(".rayox/runs/mine").exists()


def test_a_cluster_that_does_not_answer(rayox, toy_data):
    split = [
        f"data.{name}={toy_data / of}"
        for part in ("train", "val")
        for name, of in ((f"{part}.annotations", f"{part}.json"), (f"{part}.images", "images"))
    ]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        said = rayox("train", "scratch", *split, "image_size=64", "name=mine", "--address", address, "--json")
        assert time.monotonic() - began < patient(60), "Ray itself knocks for minutes"
    assert said.exit_code == 6
    assert f"no Ray cluster answers at {address}" in said.result["error"]["message"]
    assert "Traceback" not in said.err
    assert not Path(".rayox/runs/mine").exists()


def test_a_tracking_database_of_another_schema(train, tmp_path):
    connect(None, tmp_path / "elsewhere", "rayox")
    Path(".rayox").mkdir()
    shutil.copy(tmp_path / "elsewhere" / "mlflow.db", ".rayox/mlflow.db")
    with sqlite3.connect(".rayox/mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    said = train()
    assert said.exit_code == 9
    assert "mlflow db upgrade" in said.result["error"]["hint"]
    assert not Path(".rayox/runs/mine").exists()


def test_storage_that_cannot_be_written(train):
    Path("a-file").touch()
    said = train("storage=a-file/runs")
    assert said.exit_code == 2
    assert "storage: " in said.result["error"]["message"]
    assert "a-file/runs/mine cannot be written" in said.result["error"]["message"]
    assert not Path(".rayox/mlflow.db").exists()


@pytest.mark.parametrize(
    ("storage", "said_of_it"),
    [("ftp://host/runs", "is not an address that rayox can write to"), ("s3://bucket/runs", "cannot be read")],
)
def test_storage_that_is_no_address_or_does_not_answer(train, monkeypatch, storage, said_of_it):
    point_to(monkeypatch, "127.0.0.1:9")
    said = train(f"storage={storage}")
    assert said.exit_code == 2
    assert storage in said.result["error"]["message"]
    assert said_of_it in said.result["error"]["message"]
    assert not Path(storage.split("/")[0]).exists()
    assert not Path(".rayox/mlflow.db").exists()


def test_two_runs_of_one_name(train):
    with claimed(Path(".rayox/runs/mine").absolute()):
        code = (
            "import sys; from pathlib import Path; from rayox_platform.runs.run_lock import claimed\n"
            "with claimed(Path(sys.argv[1])): pass"
        )
        other = subprocess.run([sys.executable, "-c", code, ".rayox/runs/mine"], capture_output=True, text=True)
        assert "ConfigError" in other.stderr
        said = train()
    assert said.exit_code == 2
    assert "run mine is being trained by process" in said.result["error"]["message"]


def test_names_that_cannot_be_folders_or_models(train):
    assert "'/' in it" in train("name=a/b").result["error"]["message"]
    assert "tracking.model: 'a:b' cannot be a name" in train("tracking.model=a:b").result["error"]["message"]


def test_a_run_that_is_not_there_is_not_resumed(train):
    said = train("--resume", "yours")
    assert said.exit_code == 2
    assert "--resume yours: no run of that name has a checkpoint" in said.result["error"]["message"]


@pytest.mark.slow
def test_a_resumed_run_takes_no_settings_that_would_make_it_another(train, rayox, checkpoint):
    folder = Path(".rayox/runs/mine/checkpoints")
    folder.mkdir(parents=True)
    (folder / checkpoint.name).symlink_to(checkpoint)
    said = train("--resume", "mine", "train.epochs=50")
    assert said.exit_code == 2
    assert "train.epochs: the run began with 300, now 50 is given" in said.result["error"]["message"]
