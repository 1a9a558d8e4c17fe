"""A setting that may hold a credential is neither shown nor kept with it, on the way in or in what goes wrong."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from make_checkpoint import save_checkpoint
from toy_engine import ENGINE

from rayox.config import load_recipe
from rayox.run_settings import resumed_run
from rayox_model.checkpoint.snapshot import read_facts
from rayox_model.core.errors import ConfigError, TrackingError
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state
from rayox_platform.config.settings import settings
from rayox_platform.runs.home import FolderHome
from rayox_platform.runs.outbox import open_outbox, read_target
from rayox_platform.runs.outbox_entries import Points
from rayox_platform.track.record import _params
from rayox_platform.track.sender import sending
from rayox_platform.track.sync import sync_run
from rayox_platform.track.tracking import Store, Tracking, connect, refused

SECRET = "hunter2"
URI = f"http://bob:{SECRET}@127.0.0.1:1"
SHOWN = "http://***@127.0.0.1:1"
SECRETS = {  # a credential in each setting that may hold one, and what is shown of it
    "tracking.uri": (f"postgresql://bob:{SECRET}@host/db", "postgresql://***@host/db"),
    "notify.url": (f"https://host/{SECRET}", "https://host/***"),
    "notify.command": (f"curl -H 'Authorization: Bearer {SECRET}' https://host", "curl ***"),
}
REFUSED = ("storage", "model.init", "data.train.annotations", "data.train.images", "data.val.images")


def test_every_setting_that_may_hold_one_is_in_this_test():
    assert {key for key, setting in settings().items() if setting.is_secret} == set(SECRETS)


@pytest.mark.parametrize("key", SECRETS)
def test_neither_shown_nor_kept(rayox, key):
    value, shown = SECRETS[key]
    for more in ([], ["--json"]):
        said = rayox("config", "show", f"{key}={value}", *more)
        assert (said.exit_code, SECRET in said.out + said.err) == (0, False)
        assert shown in said.out
    config = load_recipe(None, [f"{key}={value}"]).config
    assert SECRET not in json.dumps(config.model_dump(mode="json")) + config.model_dump_json()
    assert _params(config)[key] == shown
    assert value in str(config.model_dump().values())


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("broken", ['"{}', "[{}]", "{}\n- a: {}: b"])
def test_a_value_that_cannot_be_read_is_not_repeated(rayox, key, broken):
    said = rayox("config", "show", f"{key}={broken.replace('{}', SECRETS[key][0])}")
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.parametrize(
    "address",
    [
        f"s3://AKIA:{SECRET}/x@bucket/prefix",
        f"https://host/x.pth?download=1&token={SECRET}",
        f"https://b.s3.amazonaws.com/x?X-Amz-Credential=me&X-Amz-Signature={SECRET}",
        f"s3://bucket/prefix?secret_key={SECRET}",
    ],
)
def test_an_address_of_data_takes_none(rayox, key, address):
    said = rayox("config", "show", f"{key}={address}")
    assert said.exit_code == 2
    assert f"{key}: credentials do not go into this address" in said.err
    assert "AWS_SECRET_ACCESS_KEY" in said.err
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("address", ["s3://bucket/a?b.json", "s3://bucket/x?region=eu-west-1", "/data/a?token=1.json"])
def test_an_address_that_holds_none_is_taken(rayox, address):
    assert rayox("config", "show", f"data.train.annotations={address}").exit_code == 0


TOKEN = f"pkcs11:token=gate;object=champion?module-path=/lib/p11.so&pin-value={SECRET}"


def test_a_pin_in_the_address_of_a_token_is_refused(rayox):
    Path("mine.yaml").write_text(f"extends: scratch\npromotion:\n  key: {TOKEN}\n")
    for words in (
        ["config", "show", f"promotion.key={TOKEN}"],
        ["config", "show", f"promotion.key={TOKEN.replace('pin-value', 'PIN-VALUE')}"],
        ["train", "mine.yaml"],
        ["promote", "x.pth", "--to", "gate", f"promotion.key={TOKEN}"],
        ["config", "show", f'promotion.key="{TOKEN}'],
    ):
        said = rayox(*words, "--json")
        assert said.exit_code == 2
        assert SECRET not in said.out + said.err
        assert "promotion.key" in said.err
    said = rayox("train", "mine.yaml")
    assert "mine.yaml:3" in said.err
    assert "pin-source=FILE" in said.err
    assert rayox("config", "show", f"promotion.key={TOKEN.replace('value', 'source')}").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["config", "show", URI],
        ["config", "show", f"tracking.url={URI}"],
        ["config", "explain", f"tracking.uri={URI}"],
        ["train", URI],
        ["models", "list", f"tracking.uri={URI}"],
        ["train", "shapes", f"--tracking.uri={URI}"],
        ["evaluate", f"models:/x@{URI}", f"tracking.uri={URI}"],
        ["predict", f"https://bob:{SECRET}@host/model.pth", "."],
    ],
)
def test_no_mistake_repeats_it(rayox, words):
    said = rayox(*words, "--json")
    assert said.exit_code not in (0, 1)
    assert SECRET not in said.out + said.err


def test_what_a_store_said_is_masked_before_it_is_cut():
    for length in range(150, 210):
        error = refused(URI, OSError("x" * length + f" http://bob:{SECRET}@host/db"))
        assert "hunt" not in error.message


def test_an_internal_error_hides_it_in_its_traceback_too(rayox, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"no route to {URI}")

    monkeypatch.setattr("rayox.config.load_config", fail)
    said = rayox("config", "show")
    assert said.exit_code == 1
    kept = Path(said.err.partition("the traceback is in ")[2].split()[0])
    assert "RuntimeError" in kept.read_text()
    assert SECRET not in said.err + kept.read_text()
    kept.unlink()


@pytest.mark.slow
def test_a_run_s_spool_knows_the_address_without_it_and_is_sent_with_the_one_given(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    store = Store(connect(None, tmp_path / "state", "rayox").client, URI, "1")
    home = FolderHome(tmp_path / "runs" / "mine")
    with sending(home.folder, Tracking(store, "f00")) as sender:
        sender.outbox.add(Points({"AP": 0.5}, 1, 1.0))
    target = read_target(home.folder)
    assert target is not None
    assert target.uri == SHOWN
    assert not [path for path in home.folder.rglob("*") if path.is_file() and SECRET in path.read_text()]
    with pytest.raises(ConfigError, match="credentials are not kept") as caught:
        sync_run(home, 0.1)
    assert "RAYOX_TRACKING__URI or MLFLOW_TRACKING_URI" in caught.value.hint
    with pytest.raises(ConfigError, match=r"now http://\*\*\*@other is given"):
        sync_run(home, 0.1, tracking_uri=f"http://bob:{SECRET}@other")
    with pytest.raises(TrackingError) as away:  # port 1: nobody there, but it is asked
        sync_run(home, 0.1, tracking_uri=URI)
    assert SECRET not in away.value.message
    open_outbox(home.folder, target).close()


def begun(checkpoint: Path, uri: str) -> None:
    """A run whose settings were kept as they are kept."""
    facts = read_facts(checkpoint)
    config = load_recipe(None, [f"tracking.uri={uri}"]).config.model_dump(mode="json")
    state = new_state(YOLOX("nano", len(facts.classes)), ENGINE, torch.device("cpu"))
    save_checkpoint(Path(".rayox/runs/mine/checkpoints"), state, replace(facts, config=config))


def test_a_resumed_run_takes_it_from_what_is_given_now(rayox, checkpoint, monkeypatch):
    begun(checkpoint, URI)
    with pytest.raises(ConfigError, match="credentials are not kept"):
        resumed_run(load_recipe(None), "mine", 0)
    assert resumed_run(load_recipe(None, [f"tracking.uri={URI}"]), "mine", 0).config.tracking.uri == URI
    monkeypatch.setenv("RAYOX_TRACKING__URI", URI)
    assert resumed_run(load_recipe(None), "mine", 0).config.tracking.uri == URI
    monkeypatch.setenv("RAYOX_TRACKING__URI", "http://127.0.0.1:1")
    assert resumed_run(load_recipe(None), "mine", 0).config.tracking.uri == "http://127.0.0.1:1"
    monkeypatch.delenv("RAYOX_TRACKING__URI")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    assert resumed_run(load_recipe(None), "mine", 0).config.tracking.uri == "http://127.0.0.1:1"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process change its command line")
def test_the_process_list_does_not_show_it(tmp_path):
    """While a verb waits for a server that does not answer."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://bob:{SECRET}@127.0.0.1:{silent.getsockname()[1]}"
        words = ["models", "list", f"tracking.uri={uri}", f"notify.url=https://host/{SECRET}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rayox", *words],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "300"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            silent.accept()[0].close()
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.kill()
            process.wait()
    assert SECRET.encode() not in shown
    assert b"models\0list\0tracking.uri=***" in shown
