"""Real interfaces of S3 (moto's server) and Google's store on this machine, and a door to S3 that fails at times."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.fs
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def moto_store() -> Iterator[str]:
    """A store on this machine; gives its host and port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
    finally:
        server.stop()


@contextmanager
def google_store() -> Iterator[str]:
    """Google's store on this machine, with one bucket; gives its host and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, port = address.split(":")
    command = ["start", f"--host={host}", f"--port={port}", "--in-memory", "--default-bucket=bucket"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from gcp_storage_emulator.__main__ import main; main()", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(address):
            assert process.poll() is None
            time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    try:
        empty_google(address)
    except ConnectionRefusedError:
        return False
    return True


def empty_google(address: str) -> None:
    """The bucket stays."""
    connection = http.client.HTTPConnection(address)
    connection.request("GET", "/wipe?keep-buckets=true")
    assert connection.getresponse().status == 200
    connection.close()


def point_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Set the environment to it, and to nothing else."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")


def make_bucket(address: str) -> None:
    """One bucket, and nothing else in the store."""
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.request("PUT", "/bucket", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3/c"})
    assert connection.getresponse().status == 200
    connection.close()


def store(address: str) -> pyarrow.fs.S3FileSystem:
    """The store itself, past any door."""
    return pyarrow.fs.S3FileSystem(endpoint_override=f"http://{address}", region="us-east-1")


class Door:
    """Hands requests on, but answers the next `failures` ones with `status` (0: hangs up); keeps what was asked.

    So it does to those that `refused` says, of their method and path; of those that `lost` says only the answer is
    withheld.
    """

    def __init__(self, behind: str) -> None:
        self.behind, self.failures, self.status = behind, 0, 503
        self.refused: Callable[[str, str], bool] = lambda method, path: False
        self.lost = self.refused
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.body()
                if door.refuses(self.command, self.path):
                    self.refuse()
                else:
                    self.hand_on(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                del self.headers["Transfer-Encoding"]
                pieces = [b""]
                while length := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(length))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def refuse(self) -> None:
                self.close_connection = True
                if door.status:
                    self.send_response(door.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def hand_on(self, body: bytes) -> None:
                connection = http.client.HTTPConnection(door.behind)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                if door.lost(self.command, self.path):
                    return self.refuse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                        self.send_header(name, value)
                if self.command != "HEAD" and answer.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                connection.close()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def refuses(self, method: str, path: str) -> bool:
        with self._lock:
            self.requests.append((method, path))
            self.failures -= 1
            return self.failures >= 0 or self.refused(method, path)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
