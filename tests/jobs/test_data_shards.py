"""rayox data shard and rayox data verify: results, exit codes, and the way from files to shards and on from those."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from rayox.data_sets.data_shards import shard, verify
from rayox_model.core.errors import ConfigError, DataError

Run = Callable[..., tuple[int, dict]]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Run:
    """Run a command with --json in an empty folder; the exit code and the last line of standard output."""
    monkeypatch.delenv("RAYOX_STATE", raising=False)
    monkeypatch.chdir(tmp_path)

    def one(command: click.Command, *arguments: object) -> tuple[int, dict]:
        capsys.readouterr()
        code = command.main([*map(str, arguments), "--json"], standalone_mode=False)
        return code or 0, json.loads(capsys.readouterr().out.splitlines()[-1])

    return one


@pytest.fixture
def of_files(toy_data) -> list[object]:
    return ["--annotations", toy_data / "train.json", "--images", toy_data / "images"]


def test_shard_then_verify(run, of_files):
    code, made = run(shard, *of_files, "-o", "out")
    assert code == 0
    assert {name: made[name] for name in ("output", "images", "annotations", "shards")} == {
        "output": "out",
        "images": 20,
        "annotations": 30,
        "shards": 1,
    }
    assert sum(path.stat().st_size for path in Path("out").glob("*.parquet")) == made["bytes"]
    code, found = run(verify, "out")
    assert (code, found) == (0, {"ok": True, "faults": [], "images": 20, "files": 3, "bytes": made["bytes"]})


def test_an_annotation_file_in_the_recipe_s_place(run, toy_data):
    code, made = run(shard, toy_data / "train.json", "--images", toy_data / "images", "-o", "out")
    assert (code, made["images"]) == (0, 20)


def test_a_recipe_s_data(run, toy_data):
    data = {
        split: {"annotations": str(toy_data / f"{split}.json"), "images": str(toy_data / "images")}
        for split in ("train", "val")
    }
    Path("mine.yaml").write_text(json.dumps({"data": data}))
    assert run(shard, "mine.yaml", "-o", "train")[1]["images"] == 20
    assert run(shard, "mine.yaml", "--split", "val", "-o", "val")[1]["images"] == 7
    again = ["data.train.annotations=train", "data.train.images=train"]
    assert run(shard, "mine.yaml", *again, "-o", "again")[1]["images"] == 20
    assert Path("again/shard-00000.parquet").read_bytes() == Path("train/shard-00000.parquet").read_bytes()


def test_faults_have_exit_code_3_and_are_named(run, of_files):
    run(shard, *of_files, "-o", "out")
    content = bytearray(Path("out/shard-00000.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    Path("out/shard-00000.parquet").write_bytes(content)
    Path("out/index.parquet").unlink()
    Path("out/extra.txt").write_text("x")
    code, found = run(verify, "out")
    assert (code, found["ok"]) == (3, False)
    assert {fault["name"]: fault["what"].split(":")[0] for fault in found["faults"]} == {
        "shard-00000.parquet": "changed",
        "index.parquet": "missing",
        "extra.txt": "extra",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a RECIPE or --annotations"),
        (["shapes", "--annotations", "a.json"], "give a RECIPE or --annotations"),
        (["scratch", "--images", "x"], "--images goes with --annotations"),
        (["scratch"], r"data\.train\.annotations"),
    ],
)
def test_what_is_asked_for_has_to_be_clear(run, arguments, says):
    with pytest.raises(ConfigError, match=says) as caught:
        run(shard, *arguments, "-o", "out")
    assert caught.value.exit_code == 2
    assert not Path("out").exists()


def test_other_errors(run, of_files):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="is not empty"):
        run(shard, *of_files, "-o", "out")
    with pytest.raises(ConfigError, match="cannot read this kind of address"):
        run(shard, *of_files, "-o", "ftp://host/out")
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        run(shard, "--annotations", "none.json", "-o", "new")
    with pytest.raises(DataError, match="not a folder of shards"):
        run(verify, "nowhere")
    assert not Path("new").exists()
