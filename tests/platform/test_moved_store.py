"""A state folder that is moved or copied takes its MLflow store along: what was kept is found, what is new is kept."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from rayox_platform.runs.home import FolderHome
from rayox_platform.runs.outbox_entries import TextFile
from rayox_platform.track.moved_store import follow_moved_state
from rayox_platform.track.sender import sending
from rayox_platform.track.sync import sync_run
from rayox_platform.track.tracking import Store, connect, open_run

EXPERIMENT = "cells & more"


def made(state: Path) -> str:
    """A state folder with one run that has a file and a model; the run's id."""
    store = connect(None, state, EXPERIMENT)
    run = open_run(store, "first", {}, {})
    run.log_text("old", "old.txt")
    store.client.create_registered_model("cells")
    store.client.create_model_version("cells", source=f"{_place(store, run.run_id)}/model", run_id=run.run_id)
    return run.run_id


def _place(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.artifact_uri)


def places(state: Path) -> str:
    with sqlite3.connect(state / "mlflow.db") as database:
        return "\n".join(line for line in database.iterdump() if "file://" in line)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, str]:
    state = tmp_path_factory.mktemp("original") / "a state"
    return state, made(state)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_what_was_kept_is_found_and_what_is_new_is_kept_in_the_new_place(original, tmp_path, how):
    state, run_id = original
    at_first = Path(shutil.copytree(state, tmp_path / "at first"))
    follow_moved_state(at_first / "mlflow.db", at_first)
    there = tmp_path / "there now"
    (shutil.move if how == "moved" else shutil.copytree)(at_first, there)
    store = connect(None, there, EXPERIMENT)
    next(there.rglob("old.txt")).write_text("old, of there")
    assert Path(store.client.download_artifacts(run_id, "old.txt")).read_text() == "old, of there"
    open_run(store, "second", {}, {}).log_text("new", "new.txt")
    assert list(there.rglob("new.txt"))
    assert not list(at_first.rglob("new.txt"))
    assert store.client.get_model_version("cells", "1").source.startswith(there.as_uri())
    assert "at%20first" not in places(there)
    assert follow_moved_state(there / "mlflow.db", there) == 0


@pytest.mark.slow
def test_a_link_to_the_folder_is_no_other_place(original, tmp_path):
    state, _ = original
    (tmp_path / "link").symlink_to(state)
    before = places(state)
    assert follow_moved_state(tmp_path / "link" / "mlflow.db", tmp_path / "link") == 0
    assert places(state) == before


def test_files_that_stayed_behind_are_not_lost_of_sight(original, tmp_path):
    state, _ = original
    (tmp_path / "mlflow.db").write_bytes((state / "mlflow.db").read_bytes())
    assert follow_moved_state(tmp_path / "mlflow.db", tmp_path) == 0


def test_no_database_and_a_broken_one_are_left_alone(tmp_path):
    assert follow_moved_state(tmp_path / "mlflow.db", tmp_path) == 0
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    assert follow_moved_state(tmp_path / "mlflow.db", tmp_path) == 0


def test_a_run_that_was_not_sent_is_sent_from_the_new_place(original, tmp_path, monkeypatch):
    state, _ = original
    at_first = Path(shutil.copytree(state, tmp_path / "at first"))
    run = open_run(connect(None, at_first, EXPERIMENT), "unsent", {}, {})
    home = FolderHome(at_first / "runs" / "unsent")
    with sending(home.folder, run):
        pass
    there = Path(shutil.move(at_first, tmp_path / "there"))
    monkeypatch.setenv("RAYOX_STATE", str(there))
    home = FolderHome(there / "runs" / "unsent")
    from rayox_platform.runs.outbox import Outbox

    outbox = Outbox(home.folder)
    outbox.add(TextFile("late.txt", "late"))
    outbox.close()
    assert sync_run(home, 60).sent == 2  # the text, and that the run has ended
    assert [path.read_text() for path in there.rglob("late.txt")] == ["late"]
    assert not (tmp_path / "at first").exists()
