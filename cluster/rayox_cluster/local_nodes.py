"""A real Ray cluster of several nodes on this machine: started, looked at and ended, from any shell.

Each node is a child of `ray start --block` with its own ports, on loopback, with token authentication; an MLflow server
and a folder for runs come with it. Only its dashboard, which takes jobs, listens elsewhere if its user asks for it.
"""

import os
import platform
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import requests

from rayox_cluster import box_shares
from rayox_cluster.cluster_record import FOLDER, ClusterRecord, held, read_record, require_here, write_token
from rayox_cluster.dashboard_address import LOOPBACK_ALONE, DashboardAddress, free_address
from rayox_cluster.local import MAX_TEMP_FOLDER_BYTES, RAY_SETTINGS
from rayox_cluster.loopback_node import LOOPBACK
from rayox_cluster.processes import end, start
from rayox_cluster.python_path import python_without_spaces
from rayox_cluster.ray_start import START_TRIES, STARTED_TOO_SLOWLY
from rayox_model.core.errors import ClusterError

START_SECONDS = 600.0  # a busy machine takes a minute for each process
STOP_SECONDS = 40.0  # Ray drains a node for up to 30
STORE_BYTES = 200 << 20  # of each node's object store
MLFLOW_PORT = "mlflow.port"

Say = Callable[[str], None]


def up(
    state: Path,
    nodes: int,
    cpus_per_node: int,
    say: Say,
    labels: tuple[Mapping[str, str], ...] = (),
    dashboard: DashboardAddress = LOOPBACK_ALONE,
) -> ClusterRecord:
    """Start a head and further nodes, an MLflow server and a folder for runs; returns when all of them answer.

    labels are those of each node in turn. Raises ClusterError when there is one already, here or on another machine,
    when another is being started, or when one does not start; ConfigError where the dashboard cannot listen.
    """
    with held(state / FOLDER):
        before = read_record(state)
        if before is not None:
            require_here(before)
        if before is not None and before.is_alive:
            raise ClusterError(
                f"a cluster of {before.nodes} nodes is up already at {before.address}",
                "use it, or end it with `rayox cluster down`",
            )
        down(state)  # what a crash has left
        record = _new_record(state, nodes, cpus_per_node, free_address(dashboard))
        record.write()
        write_token(record.token_path)
        try:
            return _started(record, labels, say)
        except BaseException:
            down(state)
            raise


def down(state: Path) -> int | None:
    """End what `up` has started and nothing else; the number of processes there were, None when there is no cluster.

    Raises ClusterError for one of another machine.
    """
    record = read_record(state)
    if record is None:
        return None
    require_here(record)
    ended = end([one.process for one in reversed(record.started)], record.mark, STOP_SECONDS)
    record.remove()
    return ended


def _new_record(state: Path, nodes: int, cpus_per_node: int, dashboard: DashboardAddress) -> ClusterRecord:
    folder = state / FOLDER
    [gcs] = _free_ports(1)
    return ClusterRecord(
        mark=secrets.token_hex(8),
        address=f"{LOOPBACK}:{gcs}",
        dashboard=dashboard.here,
        dashboard_host=dashboard.host,
        nodes=nodes,
        cpus_per_node=cpus_per_node,
        storage=str(state / "runs"),
        tracking=f"http://{LOOPBACK}:{_mlflow_port(folder)}",
        temp_folder=tempfile.mkdtemp(prefix="rx-", dir=_short_root()),
        folder=str(folder),
        host=platform.node(),
        gpus=box_shares.gpus(),
        memory_per_node=box_shares.share_of_memory(nodes, STORE_BYTES),
    )


def _started(record: ClusterRecord, labels: tuple[Mapping[str, str], ...], say: Say) -> ClusterRecord:
    Path(record.storage).mkdir(parents=True, exist_ok=True)
    say("starting the tracking server and the head")
    record = _start(record, "mlflow", _mlflow_command(record))
    commands = {"head": _head_command(record) + _labels(labels, 0)}
    record = _start(record, "head", commands["head"])
    # The dashboard answers before the head's own node is known, and a further one that comes by then ends at once.
    nodes = f"{record.dashboard}/nodes?view=summary"
    record = _when_ready(record, nodes, lambda answer: _num_alive(answer) == 1, commands)
    for number in range(1, record.nodes):
        say(f"starting node {number + 1} of {record.nodes}")
        role = f"node{number}"
        commands[role] = _node_command(record, number) + _labels(labels, number)
        record = _start(record, role, commands[role])
    record = _when_ready(record, nodes, lambda answer: _num_alive(answer) == record.nodes, commands)
    # Not whoever else answers there: one of Ray's processes may have taken the port before MLflow came to it.
    return _when_ready(record, f"{record.tracking}/health", lambda answer: answer.text.strip() == "OK", commands)


def _start(record: ClusterRecord, role: str, command: list[str]) -> ClusterRecord:
    """Start one process of it and write that down at once."""
    environment = RAY_SETTINGS | record.node_environment()
    environment["PATH"] = f"{Path(_python(record)).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    if role == "head":
        autoscaler, dashboard = _free_ports(2)
        environment |= {"AUTOSCALER_METRIC_PORT": str(autoscaler), "DASHBOARD_METRIC_PORT": str(dashboard)}
    if record.gpus and role != "mlflow":
        number = 0 if role == "head" else int(role.removeprefix("node"))
        environment[box_shares.VISIBLE] = ",".join(box_shares.share_of_gpus(record.gpus, record.nodes, number))
    record = record.and_started(role, start(command, _log(record, role), environment))
    record.write()
    return record


def _head_command(record: ClusterRecord) -> list[str]:
    dashboard = record.dashboard.rpartition(":")[2]
    options = ["--head", "--port", record.address.rpartition(":")[2], "--temp-dir", f"{record.temp_folder}/0"]
    options += ["--dashboard-host", record.dashboard_host, "--dashboard-port", dashboard]
    options += ["--ray-client-server-port", str(_free_ports(1)[0])]
    return _ray_start(record, 0, options)


def _node_command(record: ClusterRecord, number: int) -> list[str]:
    """With a temp folder of its own: in a common one the nodes would unpack a job's files over each other's."""
    return _ray_start(record, number, ["--address", record.address, "--temp-dir", f"{record.temp_folder}/{number}"])


def _ray_start(record: ClusterRecord, number: int, options: list[str]) -> list[str]:
    program = [_python(record), "-m", "rayox_cluster.loopback_node", "start", "--block", "--disable-usage-stats"]
    limits = ["--num-cpus", str(record.cpus_per_node), "--object-store-memory", str(STORE_BYTES)]
    limits += ["--num-gpus", str(len(box_shares.share_of_gpus(record.gpus, record.nodes, number)))]
    limits += ["--memory", str(record.memory_per_node)] if record.memory_per_node else []
    ports = ["--dashboard-agent-listen-port", "0", "--include-log-monitor", "false"]
    return [*program, "--node-ip-address", LOOPBACK, *limits, *ports, *options]


def _python(record: ClusterRecord) -> str:
    return python_without_spaces(Path(record.temp_folder))


def _labels(labels: tuple[Mapping[str, str], ...], number: int) -> list[str]:
    if number >= len(labels) or not labels[number]:
        return []
    return ["--labels", ",".join(f"{key}={value}" for key, value in labels[number].items())]


def _mlflow_command(record: ClusterRecord) -> list[str]:
    state = Path(record.storage).parent
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", LOOPBACK]
    command += ["--port", record.tracking.rpartition(":")[2], "--backend-store-uri", f"sqlite:///{state / 'mlflow.db'}"]
    return [*command, "--no-serve-artifacts", "--default-artifact-root", (state / "artifacts").as_uri()]


def _when_ready(
    record: ClusterRecord,
    url: str,
    is_ready: Callable[[requests.Response], bool],
    commands: Mapping[str, list[str]],
) -> ClusterRecord:
    """Once it answers as wanted; a node that was too slow for Ray is started again by its command.

    Raises ClusterError with the last lines of the log of what died meanwhile.
    """
    headers = {"Authorization": f"Bearer {record.token_path.read_text()}"}
    deadline = time.monotonic() + START_SECONDS
    tries_left = dict.fromkeys(commands, START_TRIES - 1)
    while True:
        for role in [one.role for one in record.started if not one.process.is_alive]:
            words = _last_words(record, role)
            if not tries_left.get(role) or STARTED_TOO_SLOWLY not in words:
                raise ClusterError(f"{role} ended while it started: {words}", "try again")
            tries_left[role] -= 1
            record = _start(record.without(role), role, commands[role])
        try:
            answer = requests.get(url, headers=headers, timeout=10)
            if answer.ok and is_ready(answer):
                return record
        except requests.RequestException:
            pass  # not yet
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the cluster does not answer at {url} after {START_SECONDS:.0f} s",
                "the machine may be too busy or out of memory; try fewer --nodes",
            )
        time.sleep(0.2)


def _num_alive(answer: requests.Response) -> int:
    summary = answer.json().get("data", {}).get("summary", [])
    return sum(node.get("raylet", {}).get("state") == "ALIVE" for node in summary)


def _last_words(record: ClusterRecord, role: str) -> str:
    lines = _log(record, role).read_text(errors="replace").split("\n")
    return " ".join([line.strip() for line in lines if line.strip()][-3:])[:500]


def _log(record: ClusterRecord, role: str) -> Path:
    return Path(record.folder) / f"{role}.log"


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


def _mlflow_port(folder: Path) -> int:
    """The same as last time if it can be had: runs have their tracking server's address in their settings."""
    note = folder / MLFLOW_PORT
    try:
        port = int(note.read_text())
        socket.create_server((LOOPBACK, port)).close()
    except (OSError, ValueError):
        [port] = _free_ports(1)
        note.write_text(str(port))
    return port


def _short_root() -> str:
    root = tempfile.gettempdir()
    return root if len(os.fsencode(root)) <= MAX_TEMP_FOLDER_BYTES - 12 and " " not in root else "/tmp"
