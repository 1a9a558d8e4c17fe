"""The set-up of platform/README.md: MLflow on PostgreSQL, with an artifact proxy and users, on loopback ports."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.server import get_app_client
from mlflow_server import free_port

ADMIN = "admin"


@dataclass(frozen=True)
class SharedServer:
    """An MLflow server and the passwords of its users."""

    uri: str
    folder: Path
    passwords: dict[str, str]
    pids: tuple[int, ...]  # of the database and the server

    def log_in(self, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", self.passwords[user])


def postgres_programs() -> Path:
    """Debian's folder of initdb and postgres; skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL (apt-get install postgresql)")
    return found[-1].parent


@contextmanager
def postgres(folder: Path, password: str) -> Iterator[tuple[int, int]]:
    """A database of its own on a loopback port, as (port, process id); it refuses to run as root, so it does not."""
    programs = postgres_programs()
    as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    data, port = folder / "data", free_port()
    (folder / "password").write_text(password)
    if as_other:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    made = [programs / "initdb", "-D", data, "-U", "mlflow", "-A", "scram-sha-256", "--pwfile", folder / "password"]
    subprocess.run([*as_other, *map(str, made)], check=True, capture_output=True, cwd=folder)
    words = [programs / "postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", folder]
    with (folder / "postgres.log").open("ab") as log:
        process = subprocess.Popen([*as_other, *map(str, words)], stdout=log, stderr=log, cwd=folder)
    try:
        environment = os.environ | {"PGPASSWORD": password}
        ask = [programs / "psql", "-h", "127.0.0.1", "-p", port, "-U", "mlflow", "-d", "postgres", "-c", "select 1"]
        for _ in range(300):
            if subprocess.run([*map(str, ask)], env=environment, capture_output=True).returncode == 0:
                break
            time.sleep(0.2)
        else:
            raise TimeoutError((folder / "postgres.log").read_text()[-2000:])
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@contextmanager
def shared_server(users: tuple[str, ...]) -> Iterator[SharedServer]:
    """The whole set-up; passwords travel by environment and by a file that only its owner reads."""
    passwords = {name: secrets.token_urlsafe(16) for name in (ADMIN, *users)}
    database = secrets.token_urlsafe(16)
    with (
        tempfile.TemporaryDirectory(prefix="rx", ignore_cleanup_errors=True) as root,
        tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as beside,
        postgres(Path(beside), database) as (at, postgres_pid),
    ):
        folder, port = Path(root), free_port()
        address = f"postgresql+psycopg2://mlflow:{database}@127.0.0.1:{at}/postgres"
        settings = folder / "auth.ini"
        settings.touch(mode=0o600)
        settings.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {address}\nadmin_username = {ADMIN}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"
        )
        environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": address,
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[ADMIN],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        words = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        words += ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", str(folder / "artifacts")]
        with (folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                words, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder
            )
        try:
            uri = f"http://127.0.0.1:{port}"
            _wait(uri, process, folder / "server.log")
            server = SharedServer(uri, folder, passwords, (postgres_pid, process.pid))
            _make_users(server, users)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _make_users(server: SharedServer, users: tuple[str, ...]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        server.log_in(monkeypatch, ADMIN)
        client = get_app_client("basic-auth", tracking_uri=server.uri)
        for name in users:
            client.create_user(name, server.passwords[name])


def _wait(uri: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(900):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise TimeoutError(f"{uri} does not answer: {log.read_text()[-3000:]}")
