"""The tracking store on real SQLite: made once by many, refused when another MLflow made it."""

import os
import sqlite3
import subprocess
import sys

import pytest
from patience import patient

from rayox_model.core.errors import TrackingError
from rayox_platform.runs.outbox_entries import Points
from rayox_platform.track.tracking import connect, default_uri, find_run, open_run

OPEN = """
import sys
from pathlib import Path
from rayox_platform.track.tracking import connect, open_run
store = connect(None, Path(sys.argv[1]), "many")
open_run(store, sys.argv[2], {"a": "1"}, {})
"""


IMPORT_THEN_CONNECT = """
import os, sys
before = dict(os.environ)
from pathlib import Path
from rayox_platform.track.tracking import connect
from mlflow.telemetry import get_telemetry_client
# MLflow itself notes the id of its telemetry's session.
changed = {name for name in os.environ if os.environ[name] != before.get(name)} - {"_MLFLOW_TELEMETRY_SESSION_ID"}
assert not changed, changed
connect(None, Path(sys.argv[1]), "quiet")
assert get_telemetry_client() is None
assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "20"
"""


@pytest.mark.slow
def test_importing_changes_no_variable_and_a_connection_sends_no_telemetry(tmp_path):
    """In a process that MLflow does not take for a test, whose telemetry would be off by that."""
    strangers = ("PYTEST", "MLFLOW_", "CI", "GITHUB", "RAY", "DO_NOT_TRACK", "TOX")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(strangers)}
    command = [sys.executable, "-c", IMPORT_THEN_CONNECT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state with a space")
    connect(None, folder, "rayox")
    return folder


@pytest.mark.slow
def test_two_processes_on_a_fresh_database_both_get_their_run(tmp_path):
    """A fresh database that two processes set up at once breaks MLflow; a lock lets one do it."""
    ran = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path), name]) for name in ("one", "two")]
    assert [process.wait(timeout=patient(200)) for process in ran] == [0, 0]
    store = connect(None, tmp_path, "many")
    assert find_run(store, "one") != find_run(store, "two") is not None


@pytest.mark.slow
def test_a_run_is_found_again_by_its_name_and_keeps_its_parameters(state):
    store = connect(None, state, "rayox")
    first = open_run(store, "a run, named", {"train.epochs": "3"}, {"classes": "a, b"})
    first.set_status("FAILED", 1000.0)
    again = open_run(store, "a run, named", {"train.epochs": "4"}, {})
    assert again.run_id == first.run_id
    run = store.client.get_run(first.run_id)
    assert (run.info.status, run.data.params["train.epochs"]) == ("RUNNING", "3")


@pytest.mark.slow
def test_a_point_sent_twice_is_one_point(state):
    tracking = open_run(connect(None, state, "rayox"), "points", {}, {})
    for _ in range(2):
        tracking.log_points([Points({"AP": 0.5}, 1, 1000.0)])
    assert len(tracking.client.get_metric_history(tracking.run_id, "AP")) == 1


@pytest.mark.parametrize("revision", ["f0f0f0f0f0f0", "451aebb31d03"])  # of the future, of years ago
def test_a_database_of_another_schema_is_left_alone_with_a_way_out(state, tmp_path, revision):
    path = tmp_path / "mlflow.db"
    path.write_bytes((state / "mlflow.db").read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = path.read_bytes()
    with pytest.raises(TrackingError, match="was made by another MLflow") as caught:
        connect(default_uri(tmp_path), tmp_path, "rayox")
    assert "mlflow db upgrade" in caught.value.hint
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"these are not the runs you are looking for" * 100)
    with pytest.raises(TrackingError, match="cannot keep runs at sqlite"):
        connect(None, tmp_path, "rayox")
