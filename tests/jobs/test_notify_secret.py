"""A web address to notify may hold a token: whatever rayox shows or keeps has only a part of it."""

import json
from pathlib import Path

import pytest

from rayox.config import load_recipe
from rayox.run_settings import resumed_run
from rayox_platform.track.record import _params

SECRET = "https://me:pass@hooks.example.com:8443/services/T0/TOKEN?key=TOKEN"
SHOWN = "https://hooks.example.com:8443/***"


def test_neither_config_show_nor_mlflow_s_parameters_nor_a_checkpoint_has_it(rayox):
    said = rayox("config", "show", f"notify.url={SECRET}")
    assert f"url: {SHOWN}" in said.out
    shown = rayox("config", "show", f"notify.url={SECRET}", "--json")
    config = load_recipe(None, [f"notify.url={SECRET}"]).config
    params = _params(config)
    assert params["notify.url"] == SHOWN
    saved = json.dumps(config.model_dump(mode="json"))  # as a checkpoint has it
    for text in (said.out, said.err, shown.out, shown.err, saved, str(params)):
        assert "TOKEN" not in text
        assert "pass" not in text
    assert config.notify.url == SECRET


def test_it_may_come_by_the_environment(monkeypatch):
    monkeypatch.setenv("RAYOX_NOTIFY__URL", SECRET)
    assert load_recipe(None).config.notify.url == SECRET


@pytest.mark.parametrize(
    "wrong", ["hooks.example.com/TOKEN", "ftp://x/TOKEN", "https://x:port/TOKEN", "https:///TOKEN"]
)
def test_a_wrong_address_is_refused_without_repeating_it(rayox, wrong):
    said = rayox("config", "show", f"notify.url={wrong}")
    assert said.exit_code == 2
    assert "notify.url: this is not a web address" in said.err
    assert "TOKEN" not in said.err


def test_a_command_without_an_end_is_refused(rayox):
    said = rayox("config", "show", "notify.command=tell 'them")
    assert said.exit_code == 2
    assert "notify.command: No closing quotation" in said.err


def test_a_resumed_run_tells_the_address_that_is_given_now(rayox, checkpoint, monkeypatch):
    folder = Path(".rayox/runs/mine/checkpoints")
    folder.mkdir(parents=True)
    (folder / checkpoint.name).symlink_to(checkpoint)
    monkeypatch.setenv("RAYOX_NOTIFY__URL", SECRET)
    assert resumed_run(load_recipe(None), "mine", 0).config.notify.url == SECRET
    given = resumed_run(load_recipe(None, ["notify.command=tell"]), "mine", 0).config
    assert (given.name, given.notify.command) == ("mine", "tell")
