"""Whatever a user gives a verb that is wrong: the documented exit code, one message that says what, where and what to
do, the same as JSON, no traceback, and nothing left behind (`refused` looks at all of it). Data and models that are
wrong have files of their own."""

import shutil
from pathlib import Path

import pytest
from command_lines import evaluation, training, with_model

PLACES = [
    (("tracking.uri=http://127.0.0.1:1",), 9, "tracking", "cannot keep runs at http://127.0.0.1:1"),
    (("--address", "ray://head:10001"), 6, "cluster", "an address of Ray Client"),
    (("--address", "http://head:8265"), 6, "cluster", "the address of a dashboard"),
    (("--address", "127.0.0.1:1"), 6, "cluster", "no Ray cluster answers at 127.0.0.1:1"),
    (("storage=data/train.json/runs", "--name", "a"), 2, "config", "train.json is not a folder"),
]


@pytest.mark.parametrize(("more", "exit_code", "code", "says"), PLACES)
def test_a_dry_run_finds_what_a_start_would_not_reach(refused, data, monkeypatch, more, exit_code, code, says):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("rayox_platform.track.tracking.TRIES", 1)
    refused(exit_code, *training(*more), says=(says,), code=code)


@pytest.mark.slow
def test_good_input_is_taken(rayox, data, nameless_pth, checkpoint):
    """What the tests below damage is right before."""
    for arguments in (training(), *(with_model("train", model) for model in (nameless_pth, checkpoint))):
        said = rayox(*arguments, "--json")
        assert (said.exit_code, said.result) == (0, {"ok": True})
    assert rayox(*evaluation(nameless_pth)).exit_code == 0
    assert rayox(*with_model("predict", checkpoint)).exit_code == 0
    assert not Path(".rayox").exists()


SETTINGS = {
    "train": ["train", "scratch", "--dry-run"],
    "demo": ["demo"],
    "evaluate": ["evaluate", "any.pth"],
    "predict": ["predict", "any.pth", "in", "-o", "out"],
    "config show": ["config", "show", "scratch"],
}


@pytest.mark.parametrize("verb", SETTINGS)
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.epocs=3", "train.epocs: no such setting; did you mean train.epochs?"),
        ("train.epochs=many", "train.epochs: 'many' is not"),
        ("train.epochs=0", "train.epochs: 0 is not"),
        ("image_size=417", "image_size: 417 is not a multiple of 32; use 416 or 448"),
        ("model.size=xl", "'xl' is not one of nano, tiny, s, m, l, x, darknet53"),
        ("train", "train: has no value; write key=value"),
    ],
)
def test_settings(refused, verb, setting, says):
    refused(2, *SETTINGS[verb], setting, says=("command line", says))


@pytest.mark.parametrize("verb", ["train", "config show"])
def test_missing_recipes(refused, verb):
    refused(2, *verb.split(), "shaped", says=("shaped", "shapes"))
    refused(2, *verb.split(), "gone/mine.yaml", says=("gone/mine.yaml",))


def test_recipes_that_are_none(refused):
    Path("list.yaml").write_text("- 1\n")
    Path("broken.yaml").write_text("train: {epochs: 3\n")
    for recipe in ("list.yaml", "broken.yaml"):
        refused(2, "train", recipe, "--dry-run", says=(recipe,))


def test_settings_to_explain(refused):
    refused(2, "config", "explain", "train.epocs", says=("train.epocs", "train.epochs"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "Missing argument 'RECIPE'"),
        (["evaluate"], "Missing argument 'MODEL'"),
        (["predict", "any.pth"], "Missing argument 'SOURCE'"),
        (["predict", "any.pth", "in"], "Missing option '-o'"),
        (["predict", "any.pth", "in", "-o", "out", "--score-threshold", "2"], "2.0 is not in the range 0<=x<=1"),
        (["train", "scratch", "--nome", "a"], "No such option"),
        (["config", "shew"], "No such command 'shew'"),
    ],
)
def test_usage(refused, arguments, says):
    refused(2, *arguments, says=(says, "--help"), code="usage")


def test_no_data_at_all(refused, nameless_pth):
    refused(2, "train", "scratch", "--dry-run", says=("data.train.annotations", "data.val.annotations", "has no value"))
    refused(2, "evaluate", nameless_pth, says=("data.val.annotations", "has no value"))


def test_the_order_of_checks(refused, data):
    """Settings, then the model, then the data."""
    refused(2, *training("train.epocs=1", "model.init=gone.pth", annotations="gone.json"), says=("epocs",))
    refused(2, *training("--resume", "gone", "model.init=gone.pth"), says=("--resume gone",))
    refused(4, *training("model.init=gone.pth", annotations="gone.json"), says=("gone.pth",))
    refused(4, "predict", "gone.pth", "nowhere", "-o", "out", says=("gone.pth",))


def test_names_of_runs(refused, data, checkpoint):
    taken = Path(".rayox/runs/taken/checkpoints")
    shutil.copytree(checkpoint, taken / checkpoint.name)
    refused(2, *training("--name", "taken"), says=("there is a run taken", "--resume taken"))
    refused(
        2, *training("--resume", "gone"), says=("--resume gone: no run of that name has a checkpoint", ".rayox/runs")
    )
    refused(2, *training("--resume", "auto"), says=("no unfinished run of scratch", "leave --resume out"))
    (taken.parent / "result.json").write_text("{}")
    refused(2, *training("--resume", "taken"), says=("this run is finished",))
    for name in ("../up", "a/b", ".."):
        refused(2, *training("--name", name), says=(f"{name!r} cannot be a name",))
