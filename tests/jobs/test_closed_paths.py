"""Paths that the system refuses, files for other users, and a process without a usable home or temporary folder."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from toy_engine import ENGINE

from rayox.process.surroundings import make_usable
from rayox_model.checkpoint.snapshot import read_facts, take_snapshot, write_checkpoint
from rayox_model.core.errors import ConfigError
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state
from rayox_platform.storage.folders import LocalFolder

DROP = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # of root, who may read everything otherwise
AS_USER = DROP if os.geteuid() == 0 else []


@pytest.fixture
def closed(tmp_path):
    """A folder with a closed file, a closed folder and one that cannot be written."""
    if AS_USER and shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to be refused anything")
    (tmp_path / "closed.json").write_text("{}")
    (tmp_path / "shut").mkdir()
    (tmp_path / "fixed").mkdir()
    for name, mode in (("closed.json", 0), ("shut", 0), ("fixed", 0o555)):
        (tmp_path / name).chmod(mode)
    yield tmp_path
    for name in ("shut", "fixed"):
        (tmp_path / name).chmod(0o755)


VERBS = [
    (["data", "check", "shut/a.json", "--images", "."], {}, 3, "shut/a.json: cannot be read (Permission denied)"),
    (["config", "show", "./shut/recipe.yaml"], {}, 2, "shut/recipe.yaml: cannot be read (Permission denied)"),
    (["config", "show", "./closed.json"], {}, 2, "closed.json  cannot be read (Permission denied)"),
    (["predict", "closed.json", ".", "-o", "out"], {}, 4, "closed.json: cannot be read (Permission denied)"),
    (["predict", "shut/x.pth", ".", "-o", "out"], {}, 4, "shut/x.pth: cannot be read (Permission denied)"),
    (["models", "list"], {"RAYOX_STATE": "fixed/state"}, 2, "RAYOX_STATE: the state folder "),
    (["train", "shapes", "--dry-run"], {"RAYOX_STATE": "fixed/state"}, 2, "cannot be written (Permission denied)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "variables", "exit_code", "message"), VERBS)
def test_a_closed_path_is_one_message_with_the_code_of_what_it_stands_for(closed, words, variables, exit_code, message):
    done = subprocess.run(
        [*AS_USER, sys.executable, "-m", "rayox", *words, "--json"],
        cwd=closed,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, message in done.stderr) == (exit_code, True), done.stderr
    assert message in json.loads(done.stdout.splitlines()[-1])["error"]["message"]
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.slow
def test_a_dry_run_finds_a_storage_that_cannot_be_written(closed, toy_data):
    data = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
    data += [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]
    words = ["train", "scratch", *data, "image_size=64", "--dry-run", "--json"]
    for storage, exit_code in (("fixed/runs", 2), ("runs", 0)):
        done = subprocess.run(
            [*AS_USER, sys.executable, "-m", "rayox", *words, f"storage={storage}"],
            cwd=closed,
            capture_output=True,
            text=True,
        )
        assert done.returncode == exit_code, done.stderr
        assert ("cannot be written (Permission denied)" in done.stderr) == (exit_code == 2)
    assert sorted(path.name for path in closed.iterdir() if path.name != ".rayox") == ["closed.json", "fixed", "shut"]


@pytest.mark.slow
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_are_for_others_what_the_umask_says(checkpoint, tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        facts = read_facts(checkpoint)
        state = new_state(YOLOX("nano", len(facts.classes)), ENGINE, torch.device("cpu"))
        folder = write_checkpoint(tmp_path, take_snapshot(state, facts))
        LocalFolder(tmp_path).write("result.json", b"{}")
    finally:
        os.umask(before)
    files = [*folder.iterdir(), tmp_path / "result.json"]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {path.name: oct(mode) for path in files}
    assert not list(folder.glob(".*.mode"))


@pytest.fixture
def surroundings(monkeypatch):
    """What make_usable changes is put back."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    yield monkeypatch
    tempfile.tempdir = None


def nameless(_: int) -> pwd.struct_passwd:
    raise KeyError


@pytest.mark.parametrize("home", [None, "", "/", "/nowhere/at/all"])
def test_a_process_without_a_home_gets_one(surroundings, tmp_path, home):
    surroundings.setenv("TMPDIR", str(tmp_path))
    surroundings.setattr(pwd, "getpwuid", nameless)
    if home is None:
        surroundings.delenv("HOME")
    else:
        surroundings.setenv("HOME", home)
    make_usable()
    assert os.environ["HOME"] == str(tmp_path / f"rayox-{os.getuid()}" / "home") == str(Path.home())
    assert Path.home().is_dir()


@pytest.mark.parametrize("named", [None, "", "nowhere", "a file"])
def test_the_next_best_folder_for_temporary_files_is_taken(surroundings, tmp_path, named):
    (tmp_path / "a file").write_text("")
    if named is None:
        surroundings.delenv("TMPDIR")
    else:
        surroundings.setenv("TMPDIR", str(tmp_path / named) if named else "")
    for name in ("TEMP", "TMP"):
        surroundings.delenv(name, raising=False)
    make_usable()
    assert tempfile.gettempdir() == "/tmp"
    assert os.environ.get("TMPDIR", "/tmp") == "/tmp"


def test_no_folder_for_temporary_files_at_all_is_said(surroundings):
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    surroundings.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ConfigError, match="TMPDIR: No usable temporary directory"):
        make_usable()
