"""`rayox gc`: what goes, what stays, and that nothing goes unasked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from make_checkpoint import FACTS, golden_state, save_checkpoint

from rayox.cli import main
from rayox_platform.runs.run_lock import claimed

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path):
    """A finished run with a middle checkpoint, an unfinished one with a damaged and a cut-off one, a stillborn one."""
    folder, state = tmp_path / "runs", golden_state()
    for step, ap in ((1, 0.5), (2, 0.2), (3, 0.3)):
        save_checkpoint(folder / "done" / "checkpoints", state, replace(FACTS, step=step, metrics={"AP": ap}))
    last, best = (folder / "done" / "checkpoints" / f"step-{step:08d}" for step in (3, 1))
    (folder / "done" / "result.json").write_text(json.dumps({"checkpoint": str(last), "best_checkpoint": str(best)}))
    (folder / "done" / "ray").mkdir()
    for step in (1, 2, 3):
        save_checkpoint(folder / "going" / "checkpoints", state, replace(FACTS, step=step, metrics={}))
    (folder / "going" / "checkpoints" / "step-00000003" / "ema.safetensors").write_bytes(b"")
    (folder / "going" / "checkpoints" / ".draft-12").mkdir()
    (folder / "stillborn" / "checkpoints").mkdir(parents=True)
    return folder


EXPECTED = [
    "done/checkpoints/step-00000002",
    "done/ray",
    "going/checkpoints/.draft-12",
    "going/checkpoints/step-00000003",
    "stillborn",
]


def test_it_lists_first_and_deletes_when_told(runs, capsys):
    for words, there in (([], True), (["--delete"], False)):
        assert main(["gc", "--runs", str(runs), "--json", *words]) == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert sorted(str(Path(one["path"]).relative_to(runs)) for one in result["found"]) == EXPECTED
        assert result["deleted"] is not there
        assert all((runs / path).exists() == there for path in EXPECTED)
    kept = sorted(str(path.relative_to(runs)) for path in runs.glob("*/checkpoints/*"))
    assert kept == [
        f"{run}/checkpoints/step-{step:08d}" for run, step in (("done", 1), ("done", 3), ("going", 1), ("going", 2))
    ]
    assert main(["gc", "--runs", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["found"] == []


def test_a_run_in_training_is_left_alone(runs, capsys):
    with claimed(runs / "going"):
        assert main(["gc", "--runs", str(runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["found"]
    assert not [one for one in found if "/going/" in one["path"]]


def test_a_folder_that_is_not_there_is_a_message(tmp_path, capsys):
    assert main(["gc", "--runs", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_it_says_in_words_what_would_go(runs, capsys):
    assert main(["gc", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "nothing was removed; --delete does it" in out
    assert "neither its last nor its best" in " ".join(out.split())
