"""What is left of rayox's private parts of Ray's start where Ray has moved them, or is to be left alone."""

import logging
import socket
import sys

import pytest
import ray._private.services
import ray._private.utils

from rayox_cluster import connection, tls
from rayox_cluster.address import Address
from rayox_cluster.local import _of_its_own, _private_options
from rayox_cluster.ray_start import LOOPBACK, loopback_allowed, on_loopback, signals_kept
from rayox_model.core.plain_ray import PLAIN

PARTS = ("services", "utils")


@pytest.fixture
def moved(monkeypatch):
    """A Ray whose private parts are elsewhere."""
    for part in PARTS:
        monkeypatch.setitem(sys.modules, f"ray._private.{part}", None)
        monkeypatch.delattr(ray._private, part)


@pytest.mark.parametrize("plain", ["0", "1"])
def test_a_ray_that_has_moved_them_starts_all_the_same(moved, monkeypatch, caplog, plain):
    monkeypatch.setenv(PLAIN, plain)
    with caplog.at_level(logging.WARNING, "rayox"), signals_kept(), loopback_allowed():
        pass
    signals = ["this version of Ray does without rayox's set_sigterm_handler"] if plain == "0" else []
    assert [record.getMessage() for record in caplog.records] == [
        *signals,
        "this version of Ray does without rayox's resolve_ip_for_localhost",
    ]


def test_plain_ray_keeps_to_loopback_and_leaves_the_rest_alone(monkeypatch, tmp_path):
    """No other machine may reach a local Ray, and Ray has no public way to say so."""
    monkeypatch.setenv(PLAIN, "1")
    handler = ray._private.utils.set_sigterm_handler
    with signals_kept(), on_loopback():
        assert ray._private.utils.set_sigterm_handler is handler
        assert ray._private.services.resolve_ip_for_localhost(LOOPBACK) == LOOPBACK
        assert ray._private.services.get_node_ip_address() == LOOPBACK
    assert _private_options(tmp_path) == {"_node_ip_address": LOOPBACK}
    assert _of_its_own(tmp_path)["RAY_TMPDIR"] == str(tmp_path)
    monkeypatch.setenv(PLAIN, "0")
    assert _private_options(tmp_path) == {"_node_ip_address": LOOPBACK, "_temp_dir": str(tmp_path)}
    assert "RAY_TMPDIR" not in _of_its_own(tmp_path)


@pytest.mark.parametrize(("plain", "asked"), [("0", 1), ("1", 0)])
def test_plain_ray_says_itself_that_a_token_is_missing(monkeypatch, plain, asked):
    monkeypatch.setenv(PLAIN, plain)
    shown = []
    monkeypatch.setattr(connection, "_show_token", shown.append)
    monkeypatch.setattr(tls, "ANSWER_SECONDS", 0.1)
    with socket.create_server((LOOPBACK, 0)) as there:
        connection.reach(Address(f"{LOOPBACK}:{there.getsockname()[1]}", "--address"))
    assert len(shown) == asked
