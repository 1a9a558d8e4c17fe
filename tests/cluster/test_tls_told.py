"""A cluster that talks TLS and a driver that does not, or the other way round: one message at once."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from rayox_cluster.tls import check_tls, speaks_tls
from rayox_model.core.errors import ClusterError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A file with a key and a certificate that it has signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, found = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=node"]
    subprocess.run([*command, "-keyout", key, "-out", found], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(key.read_text() + found.read_text())
    return both


@contextmanager
def listening(context: ssl.SSLContext | None) -> Iterator[str]:
    """HOST:PORT of somebody who takes one connection, with TLS or without, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                plain, _ = server.accept()
                with plain, context.wrap_socket(plain, server_side=True) if context else plain as talk:
                    talk.recv(100)
                    if not context:
                        talk.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00")  # as of HTTP/2 without TLS

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    thread.join(10)


@pytest.fixture(params=["any client", "clients of the same authority"])
def encrypted(request, certificate) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if request.param != "any client":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    with listening(context) as address:
        yield address


def test_a_driver_without_tls_is_told_that_the_cluster_has_it(encrypted, monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with pytest.raises(ClusterError, match="talks TLS, and RAY_USE_TLS is not set here") as raised:
        check_tls(encrypted)
    assert "RAY_TLS_CA_CERT" in raised.value.hint


def test_a_cluster_with_tls_is_seen_to_talk_it(encrypted):
    host, _, port = encrypted.rpartition(":")
    assert speaks_tls(host, int(port)) is True


def test_a_driver_with_tls_is_told_that_the_cluster_has_none(monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listening(None) as address, pytest.raises(ClusterError, match="RAY_USE_TLS is set here, and the cluster at"):
        check_tls(address)


def test_a_cluster_without_tls_is_reached_without(monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with listening(None) as address:
        check_tls(address)


def test_nobody_there_is_not_said_to_talk_plainly(monkeypatch):
    monkeypatch.setattr("rayox_cluster.tls.ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        assert speaks_tls("127.0.0.1", silent.getsockname()[1]) is None
