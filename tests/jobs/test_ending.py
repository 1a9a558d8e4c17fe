"""Every end of a training is told, and telling it changes no exit code."""

import json
import shutil
from pathlib import Path

import pytest

from rayox.config import load_recipe
from rayox.terminal.console import Console
from rayox.terminal.ending import after_a_stop, told_of_end
from rayox_model.core.errors import TrainingError
from rayox_platform.runs.home import FolderHome


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Ends a with block in some way; what the command was told of it."""
    monkeypatch.chdir(tmp_path)

    def end(error: BaseException | None) -> dict[str, object]:
        config = load_recipe(None, ["name=toy", "notify.command=sh -c 'cat > told.json'"]).config
        if error is None:
            with told_of_end(config, FolderHome(tmp_path), Console()):
                pass
        else:
            with pytest.raises(type(error)), told_of_end(config, FolderHome(tmp_path), Console()):
                raise error
        return json.loads(Path("told.json").read_text())

    return end


@pytest.mark.parametrize(
    ("error", "status", "exit_code", "text"),
    [
        (None, "finished", 0, None),
        (TrainingError("the loss is not finite", "lower it"), "failed", 8, "the loss is not finite"),
        (KeyboardInterrupt(), "interrupted", 130, "interrupted"),
        (KeyError("lost"), "failed", 1, "internal error: KeyError: 'lost'"),
    ],
)
def test_how_it_ends_is_told(told, error, status, exit_code, text):
    message = told(error)
    assert (message["run"], message["status"], message["exit_code"], message["error"]) == (
        "toy",
        status,
        exit_code,
        text,
    )
    assert message["host"]


def test_who_cannot_be_told_is_a_line_and_no_failure(tmp_path, capsys):
    config = load_recipe(None, ["name=toy", "notify.command=/nowhere/tell"]).config
    with told_of_end(config, FolderHome(tmp_path), Console()):
        pass
    assert capsys.readouterr().err.startswith("notify.command: cannot be run: ")


def test_what_to_do_after_a_stop_is_true_of_the_runs_checkpoints(tmp_path, checkpoint):
    home = FolderHome(tmp_path / "toy")
    assert after_a_stop(home) == "stopped before toy had a checkpoint; the same command begins it again"
    shutil.copytree(checkpoint, home.folder / "checkpoints" / checkpoint.name)
    assert after_a_stop(home) == "stopped; the same command with --resume toy goes on from the newest checkpoint"
