"""Simultaneous promotions, promoters that die, and what MLflow's own client may do to a champion."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from mlflow import MlflowClient
from patience import patient
from promotion_drafts import publish_draft
from promotions import TAGS, another_network
from promotions_killed import COMMIT, WRITES

from rayox_model.core.errors import GateError, ModelError
from rayox_platform.config.tree import Config, Promotion, Tracking
from rayox_platform.models.champion import EXPERIMENT, fetch_champion, read_history
from rayox_platform.promote.reconcile import reconcile, verify
from rayox_platform.promote.rollback import rollback
from rayox_platform.track.registration import register
from rayox_platform.track.registry import fetch_onnx
from rayox_platform.track.tracking import Store, connect, open_run

RACERS = 8

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("races") / "state"


@pytest.fixture(scope="module")
def networks(tmp_path_factory, toy_onnx) -> list[Path]:
    """Files of different bytes under the name a version has them by."""
    folder = tmp_path_factory.mktemp("networks")
    return [another_network(toy_onnx, folder / str(n) / "model.onnx", 1 + n / 100) for n in range(RACERS)]


class Together(MlflowClient):
    """All racers have looked who is champion before the first commits."""

    def __init__(self, uri: str, line: Barrier) -> None:
        super().__init__(tracking_uri=uri, registry_uri=uri)
        self._line = line

    def create_model_version(self, *args: Any, **kwargs: Any) -> Any:
        self._line.wait(timeout=patient(600))
        return super().create_model_version(*args, **kwargs)


def race(
    state: Path,
    name: str,
    networks: list[Path],
    rounds: int,
    store: Store | None = None,
    promotion: Promotion | None = None,
) -> None:
    """In each round all name the same predecessor; exactly one becomes champion and all others are told which."""
    store = store or connect(None, state, EXPERIMENT)
    trusted = Promotion(trusted_keys=promotion.trusted_keys) if promotion else Promotion()
    uri = store.uri if promotion else None
    publish_draft(name, 0, networks[0], state, "somebody", store, promotion)
    for _ in range(rounds):
        before = read_history(store, name).head
        line = Barrier(RACERS)

        def run(number: int, before: int = before, line: Barrier = line) -> int | str:
            mine = replace(store, client=Together(store.uri, line))
            try:
                return publish_draft(name, before, networks[number], state, f"racer{number}", mine, promotion).version
            except GateError as error:
                return error.message
            except BaseException:
                line.abort()  # the others need not wait for this one
                raise

        with ThreadPoolExecutor(RACERS) as pool:
            ends = list(pool.map(run, range(RACERS)))
        after = read_history(store, name)
        winners = [end for end in ends if isinstance(end, int)]
        assert len(winners) == 1, ends
        assert after.live[-2:] == (before, winners[0])
        assert len(after.versions) >= before + RACERS
        winner = next(number for number, end in enumerate(ends) if isinstance(end, int))
        for end in ends:
            assert isinstance(end, int) or f"version {winners[0]} was made champion by racer{winner}" in end
        assert fetch_champion(name, uri, state, trusted).read_bytes() == networks[winner].read_bytes()
    assert verify(name, Config(tracking=Tracking(uri=uri), promotion=trusted), state).good


@pytest.mark.slow
def test_of_eight_simultaneous_promotions_one_wins_and_the_others_are_told_which(state, networks):
    race(state, "raced", networks, rounds=2)


@pytest.mark.faults
def test_of_eight_simultaneous_promotions_one_wins_in_twenty_rounds(state, networks):
    race(state, "raced-long", networks, rounds=20)


def killed(state: Path, name: str, predecessor: int, onnx: Path, number: int, when: str) -> None:
    script = Path(__file__).with_name("promotions_killed.py")
    words = [script, state, name, predecessor, onnx, number, when]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=patient(240))
    assert done.returncode == -signal.SIGKILL, done.stderr


def die_and_go_on(state: Path, name: str, networks: list[Path], number: int, when: str) -> None:
    """After the kill the old champion or the new one is whole, and the next promotion works."""
    publish_draft(name, 0, networks[0], state)
    killed(state, name, 1, networks[1], number, when)
    committed = number > COMMIT or (number == COMMIT and when == "after")
    now = networks[1] if committed else networks[0]
    assert fetch_champion(name, None, state, Promotion()).read_bytes() == now.read_bytes()
    store = connect(None, state, EXPERIMENT)
    head = read_history(store, name).head
    publish_draft(name, head, networks[2], state)
    assert fetch_champion(name, None, state, Promotion()).read_bytes() == networks[2].read_bytes()
    reconcile(name, Config(), state)
    assert verify(name, Config(), state).good


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_promoter_that_dies_at_its_commit_leaves_the_old_champion_or_the_new(state, networks, when):
    die_and_go_on(state, f"killed-{when}", networks, COMMIT, when)


@pytest.mark.faults
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, len(WRITES) + 1))
def test_a_promoter_that_dies_at_any_write(state, networks, number, when):
    die_and_go_on(state, f"killed-{number}-{when}", networks, number, when)


@pytest.mark.slow
def test_a_deleted_champion_is_named_and_brought_back(state, networks):
    name = "deleted"
    for number in (0, 1):
        publish_draft(name, number, networks[number], state)
    store = connect(None, state, EXPERIMENT)
    store.client.delete_model_version(name, "2")
    with pytest.raises(ModelError, match="version 2, the champion, was deleted") as raised:
        fetch_champion(name, None, state, Promotion())
    assert "the last good one is models:/deleted/1" in raised.value.hint
    assert not verify(name, Config(), state).good
    assert "its bytes are version 3" in reconcile(name, Config(), state)[0]
    assert fetch_champion(name, None, state, Promotion()).read_bytes() == networks[1].read_bytes()
    assert rollback(name, None, "", Config(), state).restores == 1


@pytest.mark.slow
def test_a_champion_outlives_the_run_it_was_trained_in(state, networks, tmp_path):
    source = connect(None, state, "rayox")
    tracking = open_run(source, "short-lived", {}, TAGS)
    one = register(tracking, "trained", networks[3], {"AP": 0.5}, 1, {})
    copy = fetch_onnx(
        source, source.client.get_logged_model(one.model_id).artifact_location, tmp_path / "model.onnx", ""
    )
    publish_draft("outlives", 0, copy, state)
    source.client.delete_run(one.run_id)
    source.client.delete_logged_model(one.model_id)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", source.uri],
        env=os.environ | {"MLFLOW_TRACKING_URI": source.uri},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list((state / "artifacts" / "rayox").rglob("model.onnx"))
    assert fetch_champion("outlives", None, state, Promotion()).read_bytes() == networks[3].read_bytes()
    assert verify("outlives", Config(), state).good
