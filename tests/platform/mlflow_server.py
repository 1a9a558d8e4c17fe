"""A real MLflow server on a loopback port, to be killed and started again over the same database."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class MlflowServer:
    """`mlflow server` over SQLite and a folder of artifacts in one folder; always on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[str] | None = None
        self._next: subprocess.Popen[str] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self.prepare()
        self.start_after(0.0)
        self.wait()

    def prepare(self) -> None:
        """Make the process that will be the server: making it later would hold the caller's interpreter up."""
        command = ["sh", "-c", 'read delay; sleep "$delay"; exec "$@"', "sh", sys.executable, "-m", "mlflow", "server"]
        command += ["--workers", "1", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._next = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
                text=True,
            )

    def start_after(self, seconds: float) -> None:
        """Let the prepared process become the server."""
        assert self._next is not None
        assert self._next.stdin is not None
        self._process, self._next = self._next, None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.close()

    def kill(self) -> None:
        """SIGKILL to the server and its worker, as at a crash of its machine."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        for process in (self._process, self._next):
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def wait(self) -> None:
        """Until it answers."""
        assert self._process is not None
        for _ in range(600):
            assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"{self.uri} does not answer")
