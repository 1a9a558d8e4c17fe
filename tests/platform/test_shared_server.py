"""A team's server: trainers register, promoters promote, everybody uses the champion; who may not is told so."""

import subprocess
from pathlib import Path

import pytest
from promotion_drafts import publish_draft
from promotions import TAGS, another_network
from shared_server import ADMIN, SharedServer, shared_server
from test_promotion_races import RACERS, race

from rayox_model.core.errors import ConfigError, ModelError
from rayox_platform.config.tree import Config, Promotion, Tracking
from rayox_platform.models.champion import EXPERIMENT, fetch_champion
from rayox_platform.promote.reconcile import verify
from rayox_platform.track.registration import register
from rayox_platform.track.tracking import STORE_ERRORS, connect, open_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Eight clients at once, on a busy machine."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")


@pytest.fixture(scope="module")
def server():
    with shared_server(("trainer", "promoter")) as running:
        yield running


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Promotion:
    """The team's key."""
    folder = tmp_path_factory.mktemp("keys")
    key, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    return Promotion(key=str(key), trusted_keys=(str(public),))


@pytest.fixture(scope="module")
def networks(tmp_path_factory, toy_onnx) -> list[Path]:
    folder = tmp_path_factory.mktemp("networks")
    return [another_network(toy_onnx, folder / str(n) / "model.onnx", 1 + n / 100) for n in range(RACERS)]


def test_roles(server: SharedServer, team, networks, tmp_path, monkeypatch):
    state = tmp_path / "state"
    server.log_in(monkeypatch, "trainer")
    trained = register(
        open_run(connect(server.uri, state, "rayox"), "a-run", {}, TAGS), "shapes", networks[0], {"AP": 0.5}, 1, {}
    )
    assert trained.version == 1
    server.log_in(monkeypatch, "promoter")
    store = connect(server.uri, state, EXPERIMENT)
    made = publish_draft("shop", 0, networks[0], state, "promoter", store, team)
    assert made.aliases == ("champion",)
    server.log_in(monkeypatch, "trainer")  # may use the champion, and not make one
    used = fetch_champion("shop", server.uri, state, Promotion(trusted_keys=team.trusted_keys))
    assert used.read_bytes() == networks[0].read_bytes()
    with pytest.raises(STORE_ERRORS, match=r"403|denied|permission"):
        publish_draft("shop", 1, networks[1], state, "trainer", connect(server.uri, state, "mine"), team)
    with pytest.raises(STORE_ERRORS, match=r"403|denied|permission"):
        store.client.set_registered_model_alias("shop", "champion", "1")
    config = Config(tracking=Tracking(uri=server.uri), promotion=Promotion(trusted_keys=team.trusted_keys))
    assert verify("shop", config, state).good
    server.log_in(monkeypatch, ADMIN)
    store.client.delete_registered_model_alias("shop", "champion")
    with pytest.raises(ModelError, match="the alias champion is gone, but the champion is version 1"):
        fetch_champion("shop", server.uri, state, config.promotion)


def test_the_demo_key_is_refused_outside_the_embedded_store(server: SharedServer, networks, tmp_path, monkeypatch):
    server.log_in(monkeypatch, "promoter")
    store = connect(server.uri, tmp_path, EXPERIMENT)
    with pytest.raises(ConfigError, match="the demo key is only for the store"):
        publish_draft("demo", 0, networks[0], tmp_path, "promoter", store)


def test_passwords_are_not_in_process_lists(server: SharedServer):
    for pid in server.pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        assert "mlflow" in words or "postgres" in words
        assert not [name for name, password in server.passwords.items() if password in words]
        assert "postgresql+psycopg2://" not in words


@pytest.mark.faults
def test_two_rounds_of_eight_promotions_on_postgresql(server: SharedServer, team, networks, tmp_path, monkeypatch):
    server.log_in(monkeypatch, "promoter")
    race(tmp_path, "raced", networks, 2, connect(server.uri, tmp_path, EXPERIMENT), team)


@pytest.mark.faults
def test_twenty_rounds_of_eight_promotions_on_postgresql(server: SharedServer, team, networks, tmp_path, monkeypatch):
    server.log_in(monkeypatch, "promoter")
    race(tmp_path, "raced-long", networks, 20, connect(server.uri, tmp_path, EXPERIMENT), team)
