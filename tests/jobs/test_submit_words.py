"""What of a verb's words is a path, and what becomes of it in a job: as the verb's own command line reads them."""

from pathlib import Path

import click
import pytest

from rayox.cli import cli
from rayox.submission.resolved import VERBS, resolve
from rayox.submission.verb_words import FILES, OUTPUTS, READ_AS_TEXT, read_words
from rayox_model.core.errors import ConfigError, DataError, RayoxError

PLACES = ("storage=s3://runs/here", "tracking.uri=http://mlflow:5000")
SPACE = "space:\n  train.momentum: {float: [0.8, 0.95]}\n"
DATA = [f"data.{split}.{what}=/data/{split}/{what}" for split in ("train", "val") for what in ("annotations", "images")]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "RAYOX_STATE", "RAYOX_ADDRESS", "RAYOX_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in zip(("RAYOX_STORAGE", "MLFLOW_TRACKING_URI"), ("s3://runs/here", "http://mlflow"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def refused(words: list[str], kind: type[RayoxError], *said: str) -> None:
    with pytest.raises(kind) as error:
        resolve(words, None)
    assert all(text in error.value.message for text in said), error.value.message
    assert error.value.hint


def test_a_campaign_s_data_are_looked_at_as_a_training_s(tmp_path):
    (tmp_path / "search.yaml").write_text(f"recipe: toy.yaml\n{SPACE}")
    (tmp_path / "toy.yaml").write_text("extends: scratch\ndata:\n  train: {annotations: here.json, images: images}\n")
    relative = "data.val.annotations=/d/v.json", "data.val.images=/d/images"
    refused(["tune", "search.yaml", *relative], DataError, "here.json: lies on this machine")
    shared = [word for word in DATA if "train" in word]
    resolved = resolve(["tune", "search.yaml", *shared, *relative], None)
    assert set(resolved.paths) == {word.partition("=")[2] for word in (*shared, *relative)}
    assert ("/d/v.json", "/d/images") in resolved.images
    refused(["tune", "simota", "model.init=best.pth"], DataError, "best.pth: lies on this machine")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "runs/mymodel"], "MODEL: runs/mymodel: lies on this machine"),
        (["predict", "best.pth", "/photos", "-o", "/shared/out"], "MODEL: best.pth"),
        (["promote", "runs/mymodel", "--to", "x"], "MODEL: runs/mymodel"),
        (["predict", "models:/x/1", "photos", "-o", "/shared/out"], "SOURCE: photos"),
        (["evaluate", "models:/x/1", "data.val.annotations=val.json"], "val.json"),
        (["data", "check", "val.json"], "WORDS: val.json"),
        (["data", "check", "/d/val.json", "--images", "images"], "--images: images"),
        (["data", "check", "/d/val.json", "--against=train.json"], "--against: train.json"),
        (["data", "stats", "val.json"], "FILE: val.json"),
        (["data", "verify", "shards"], "OUT: shards"),
        (["data", "shard", "--annotations", "a.json", "-o", "s3://x/y"], "--annotations: a.json"),
    ],
)
def test_what_lies_here_is_refused_whether_it_is_there_or_not(words, said):
    refused(words, DataError, said, "lies on this machine")


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["evaluate", "s3://runs/x/checkpoints/step-9"], ("s3://runs/x/checkpoints/step-9",)),
        (["evaluate", "models:/x@champion", "data.val.annotations=s3://d/v.json"], ("s3://d/v.json",)),
        (["predict", "/models/x", "/photos/*.jpg", "-o", "/shared/out"], ("/models/x", "/photos/*.jpg")),
        (["data", "shard", "shapes", "-o", "s3://bucket/shapes"], ()),
        (["promote", "campaign:search", "--to", "x"], ()),
        (["runs", "show", "runs/mine"], ()),
        (["models", "show", "x@champion"], ()),
    ],
)
def test_what_other_machines_can_have_is_passed_and_looked_for(words, paths):
    assert resolve(words, None).paths == paths


def test_a_gate_s_data_are_looked_at(tmp_path):
    words = ["promote", "models:/x/1", "--to", "y", "--gate=gate.yaml"]
    (tmp_path / "gate.yaml").write_text("data: {annotations: val.json, images: /d/images}")
    refused(words, DataError, "gate.yaml: val.json: lies on this machine")
    (tmp_path / "gate.yaml").write_text("data: {annotations: /d/val.json, images: /d/images}")
    resolved = resolve(words, None)
    assert resolved.paths == ("/d/val.json", "/d/images")
    assert "--gate=gate.yaml" in resolved.task.arguments
    assert "gate.yaml" in resolved.files("x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "models:/x/1", "s3://photos", "-o", "out"], "--output: out is a relative path"),
        (["predict", "models:/x/1", "s3://photos", "-o", "s3://out"], "--output: s3://out: predict writes to folders"),
        (["evaluate", "models:/x/1", "--output=found.json"], "--output: found.json is a relative path"),
        (["promote", "models:/x/1", "--to", "y", "--page", "gate.html"], "--page: gate.html"),
        (["data", "check", "/d/val.json", "--fix", "mended.json"], "--fix: mended.json"),
        (["data", "show", "shapes", "--step", "0"], "--output: show.jpg is a relative path"),
        (["data", "shard", "shapes", "-o", "shards"], "--output: shards is a relative path"),
        (["tune", "report", "search"], "-o: is not given"),
        (["tune", "apply", "search", "-o", "best.yaml"], "--output: best.yaml"),
    ],
)
def test_what_would_be_written_into_the_job_s_own_folder_is_refused(words, said):
    refused(words, ConfigError, said)


def test_what_is_written_need_not_be_there():
    resolved = resolve(["predict", "models:/x/1", "s3://photos", "-o", "/shared/new"], None)
    assert (resolved.paths, resolved.outputs) == (("s3://photos",), ("/shared/new",))
    assert resolve(["data", "shard", "shapes", "-o", "s3://bucket/x"], None).outputs == ("s3://bucket/x",)


def test_words_that_are_no_paths_may_be_called_as_what_lies_here(tmp_path):
    for name in ("detector", "check", "champion", "better"):
        (tmp_path / name).mkdir()
    resolve(["promote", "models:/x/1", "--to", "detector", "--reason", "better"], None)
    resolve(["data", "check", "/d/val.json"], None)
    resolve(["models", "show", "champion"], None)


def test_an_empty_value_is_said_to_be_empty():
    refused(["data", "check", "/d/val.json", "--images="], ConfigError, "--images: is empty")
    refused(["evaluate", ""], ConfigError, "MODEL: is empty")
    assert resolve(["evaluate", "models:/x/1", "data.val.images="], None).paths == ()  # unset, as everywhere
    refused(["train", "shapes", "storage="], ConfigError, "storage: is not set")


def test_a_line_that_the_verb_would_refuse_is_refused_here():
    for words, said in ((["evaluate"], "model"), (["data"], "needs a command"), (["data", "chek"], "chek")):
        with pytest.raises(click.UsageError, match=said):
            resolve(words, None)


def commands(group: click.Group) -> list[click.Command]:
    found = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found += commands(command) if isinstance(command, click.Group) else [command]
    return found


def test_every_path_that_a_verb_takes_is_known_for_what_it_is():
    """A parameter that is added has to be sorted: read, written, or a file of settings."""
    seen = set()
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        for one in commands(command) if isinstance(command, click.Group) else [command]:
            seen |= {parameter.name for parameter in one.params if isinstance(parameter.type, click.Path)}
    read = {"against", "source", "classes", "images", "file"}
    assert seen == read | OUTPUTS | {"gate"}
    assert not OUTPUTS & (FILES | READ_AS_TEXT)


def test_words_are_read_as_the_verb_reads_them():
    read = read_words(["predict", "models:/x/1", "--output", "/out", "/photos", "eval.nms_threshold=0.5"])
    assert (read.inputs, read.outputs, read.overrides) == (("/photos",), ("/out",), ("eval.nms_threshold=0.5",))
    assert Path(read.outputs[0]).is_absolute()
