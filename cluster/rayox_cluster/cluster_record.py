"""What `cluster up` writes down: enough to use its cluster from another shell and to end it after a crash."""

import fcntl
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rayox_cluster.loopback_node import LOOPBACK, STAY_ON_LOOPBACK
from rayox_cluster.processes import MARK, Process
from rayox_model.core.errors import ClusterError

FOLDER, FILE, TOKEN, LOCK = "cluster", "cluster.json", "token", "up.lock"


@dataclass(frozen=True)
class Started:
    """A process that `cluster up` started, and what it is."""

    role: str  # head, node, mlflow
    process: Process


@dataclass(frozen=True)
class ClusterRecord:
    """A cluster of nodes on this machine."""

    mark: str  # in the environment of all its processes
    address: str  # of Ray
    dashboard: str
    nodes: int
    cpus_per_node: int
    storage: str
    tracking: str
    temp_folder: str
    folder: str  # of this record, the token and the logs
    started: tuple[Started, ...] = ()
    host: str = ""  # of the machine that it is on; empty of an earlier rayox
    gpus: tuple[str, ...] = ()  # of the machine, which the nodes share
    memory_per_node: int = 0  # bytes
    dashboard_host: str = LOOPBACK  # where it listens

    @property
    def token_path(self) -> Path:
        return Path(self.folder) / TOKEN

    @property
    def is_alive(self) -> bool:
        """Whether every process that was started still runs."""
        return bool(self.started) and all(started.process.is_alive for started in self.started)

    @property
    def is_elsewhere(self) -> bool:
        """Whether another machine, with which this one shares the state folder, has started it."""
        return self.host not in ("", platform.node())

    def access(self) -> dict[str, str]:
        """What whoever connects has to have in the environment: where the token is, not the token."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            STAY_ON_LOOPBACK: "0",
        }

    def node_environment(self) -> dict[str, str]:
        """For its processes; a variable that names another cluster does not reach them."""
        others = ("RAY_ADDRESS", "RAYOX_ADDRESS", "RAY_AUTH_TOKEN", STAY_ON_LOOPBACK)
        environment = {name: value for name, value in os.environ.items() if name not in others}
        access = {name: value for name, value in self.access().items() if name != STAY_ON_LOOPBACK}
        return environment | access | {MARK: self.mark}

    def and_started(self, role: str, process: Process) -> "ClusterRecord":
        return replace(self, started=(*self.started, Started(role, process)))

    def without(self, role: str) -> "ClusterRecord":
        return replace(self, started=tuple(one for one in self.started if one.role != role))

    def write(self) -> None:
        path = Path(self.folder) / FILE
        draft = path.with_suffix(".unfinished")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(path)

    def remove(self) -> None:
        """Forget the cluster and take away its temp folder, its token and its logs."""
        shutil.rmtree(self.temp_folder, ignore_errors=True)
        for path in (self.token_path, Path(self.folder) / FILE, *Path(self.folder).glob("*.log")):
            path.unlink(missing_ok=True)


def read_record(state: Path) -> ClusterRecord | None:
    """The cluster that was started with this state folder, alive or not."""
    try:
        values = json.loads((state / FOLDER / FILE).read_text())
    except FileNotFoundError:
        return None
    started = tuple(Started(one["role"], Process(**one["process"])) for one in values.pop("started"))
    return ClusterRecord(**values | {"gpus": tuple(values.get("gpus", ()))}, started=started)


def require_here(record: ClusterRecord) -> None:
    """Raises ClusterError for a cluster of another machine: nothing of it can be seen or ended from here."""
    if record.is_elsewhere:
        raise ClusterError(
            f"the cluster in {record.folder} is on {record.host}, and this machine is {platform.node()}",
            "end it there with `rayox cluster down`, or set RAYOX_STATE to a folder of this machine; if the other is "
            f"gone for good, remove {Path(record.folder) / FILE}",
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a cluster's folder if need be and hold it while one starts there. Raises ClusterError if somebody else does.

    The system frees the lock with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"another `rayox cluster up` is starting a cluster in {folder}",
                "wait for it and use that one, or set RAYOX_STATE to another folder",
            ) from None
        yield


def write_token(path: Path) -> None:
    """A fresh token that only this user can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
