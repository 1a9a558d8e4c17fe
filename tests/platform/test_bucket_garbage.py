"""`rayox gc` of runs in a bucket: what goes, what stays, and that nothing goes unasked."""

import json
from dataclasses import replace

import pytest
from make_checkpoint import FACTS, golden_state

from rayox.cli import main
from rayox_model.checkpoint.snapshot import take_snapshot
from rayox_platform.runs.bucket_lock import claimed_in_bucket
from rayox_platform.runs.places import open_runs

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(bucket, tmp_path, monkeypatch):
    """A finished run with a middle checkpoint, one with a cut-off and a damaged checkpoint, a stillborn one."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    runs, state = open_runs(str(bucket).removesuffix("/mine")), golden_state()
    done, going = runs.home("done"), runs.home("going")
    names = [
        done.checkpoints.write(take_snapshot(state, replace(FACTS, step=step, metrics={"AP": ap})))
        for step, ap in ((1, 0.5), (2, 0.2), (3, 0.3))
    ]
    last, best = (done.checkpoints.address(name) for name in (names[2], names[0]))
    done.shared.write("result.json", json.dumps({"checkpoint": last, "best_checkpoint": best}).encode())
    names += [going.checkpoints.write(take_snapshot(state, replace(FACTS, step=step))) for step in (1, 2, 3)]
    going.shared.remove(f"checkpoints/{names[4]}/manifest.json")
    going.shared.write(f"checkpoints/{names[5]}/ema.safetensors", b"")
    runs.home("stillborn").shared.write("events/1-0.jsonl", b"{}\n")
    garbage = [f"done/checkpoints/{names[1]}", *(f"going/checkpoints/{name}" for name in names[4:]), "stillborn"]
    return runs, [f"{runs.bucket}/{name}" for name in garbage]


def gc(runs, capsys, *words):
    assert main(["gc", "--runs", str(runs.bucket), "--json", *words]) == 0
    return sorted(one["path"] for one in json.loads(capsys.readouterr().out.splitlines()[-1])["found"])


def test_it_lists_first_and_deletes_when_told(runs, capsys):
    runs, garbage = runs
    before = runs.bucket.files()
    assert gc(runs, capsys) == garbage
    assert runs.bucket.files() == before
    assert gc(runs, capsys, "--delete") == garbage
    left = {"/".join([str(runs.bucket), *path.split("/")[:3]]) for path in runs.bucket.files()}
    assert not left & set(garbage)
    assert gc(runs, capsys) == []
    assert len(runs.home("done").checkpoints.listed()) == 2
    assert runs.names() == ["done", "going"]


def test_a_run_in_training_is_left_alone(runs, capsys):
    runs, garbage = runs
    with claimed_in_bucket("going", runs.home("going").claims):
        assert gc(runs, capsys) == [address for address in garbage if "/going/" not in address]
