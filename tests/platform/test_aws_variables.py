"""AWS's variables count for buckets as they do for AWS's own programs: seen in the requests that a store gets."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

READ = """
from rayox_platform.storage.folders import open_folder
try:
    open_folder("s3://bucket/coco").read("val.json")
except OSError:
    pass
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAHERE", "AWS_SECRET_ACCESS_KEY": "x"}
NOWHERE = "http://127.0.0.1:1"
Asked = Callable[[dict[str, str]], str]


class Recorder(ThreadingHTTPServer):
    """A store that has nothing, and remembers as whom and for which region it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        recorder = self

        class Answer(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                recorder.asked.append(self.headers.get("Authorization", ""))
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD

            def log_message(self, *words: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answer)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


@pytest.fixture
def store() -> Iterator[Recorder]:
    with Recorder() as server:
        yield server
        server.shutdown()


@pytest.fixture
def asked(store: Recorder, tmp_path: Path) -> Asked:
    """What the store is told of who asks, by a process with these variables and no other of AWS."""

    def ask(variables: dict[str, str]) -> str:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        plain |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        subprocess.run([sys.executable, "-c", READ], env=plain | variables, check=True, capture_output=True)
        return " ".join(store.asked)

    return ask


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-north-1"),
    ],
)
def test_the_region(asked, store, variables, region):
    said = asked(KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}"} | variables)
    assert "Credential=AKIAHERE/" in said
    assert f"/{region}/s3/" in said


def test_the_endpoint_of_s3_goes_before_that_of_all_services(asked, store):
    here = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.server_port}", "AWS_ENDPOINT_URL": NOWHERE}
    assert "Credential=AKIAHERE/" in asked(KEYS | here)


def test_a_profile(asked, store, tmp_path):
    (tmp_path / "keys").write_text(
        "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n"
        "[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = x\n"
    )
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"), "AWS_PROFILE": "work"}
    said = asked(named | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}"})
    assert "Credential=AKIAWORK/" in said
    assert "AKIAOTHER" not in said


@pytest.mark.parametrize("named", [True, False])
def test_the_authorities_of_a_bundle(asked, store, tmp_path, named):
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    store.socket = context.wrap_socket(store.socket, server_side=True)
    bundle = {"AWS_CA_BUNDLE": str(certificate)} if named else {}
    said = asked(KEYS | bundle | {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{store.server_port}"})
    assert ("Credential=AKIAHERE/" in said) == named
