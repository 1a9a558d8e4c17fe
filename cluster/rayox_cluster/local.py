"""Ray on this machine, or the cluster at an address, for the length of one verb: started quietly, always ended."""

import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rayox_cluster.access import token
from rayox_cluster.address import Address, cluster_address
from rayox_cluster.connection import not_connected, reach, require_version
from rayox_cluster.lookout import head_watched
from rayox_cluster.python_path import python_without_spaces
from rayox_cluster.ray_start import (
    START_TRIES,
    STARTED_TOO_SLOWLY,
    loopback_allowed,
    on_loopback,
    only_on_loopback,
    signals_kept,
)
from rayox_model.core.plain_ray import PLAIN, is_plain

# Socket paths end at 107 bytes and Ray appends about 60 of its own, 4 more below RAY_TMPDIR.
MAX_TEMP_FOLDER_BYTES = 36
LOOPBACK, LOOPBACK_INTERFACE = "127.0.0.1", "lo"
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # on which training workers find each other
MIN_CPUS = 2  # logical ones: on a single core training and its data take turns

RAY_SETTINGS = {  # for whoever has not set them
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # in a Ray job that has one: what both say is the verb's
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # today's default warns about tomorrow's
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_raylet_start_wait_time_s": "120",  # on a busy machine Ray's 30 are not enough
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # deaths of workers are told by the run's own events
    # CPUs that a lost stream had claimed are free again after this; Ray's own 180 seconds starve what comes after it.
    "RAY_DATA_AUTOSCALING_REQUEST_EXPIRE_TIME_S": "30",
    # A dead worker is noticed at the next look; machines that are gone are not waited for any longer than this.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # Ray Train's controller does that by design
    "RAY_worker_niceness": "0",  # Ray's own 15 gives a training a tenth of the machine beside any other busy program
    # Processes that have run data tasks are kept for the next ones: after a restart, or of the next run.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
# Settings that processes on other machines would not inherit.
FOR_EVERY_PROCESS = ("RAY_TRAIN_", "RAY_WARN_", PLAIN)


@contextmanager
def ray_session(
    address: str | None,
    num_cpus: int | None = None,
    worker_environment: dict[str, str] | None = None,
    local_environment: dict[str, str] | None = None,
) -> Iterator[None]:
    """A connection to Ray at an address; without one at that of RAY_ADDRESS, or a cluster of its own on this machine.

    "local" is such a cluster whatever RAY_ADDRESS says. num_cpus counts its logical CPUs (default: all of this
    machine); worker_environment are variables of this driver's processes, local_environment further ones where they
    are on this machine. Raises ClusterError when nothing answers at the address, or what answers cannot run this
    version of rayox.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    chosen = cluster_address(address)
    local = chosen.text is None
    if not local:
        reach(chosen)
    environment = dict(worker_environment or {})
    if local:
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # nobody will give notice: a process less
        environment |= {name: os.environ.get(name, LOOPBACK_INTERFACE) for name in INTERFACE_VARIABLES}
        environment |= local_environment or {}
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if not local:
        environment |= {name: value for name, value in os.environ.items() if name.startswith(FOR_EVERY_PROCESS)}
        options["runtime_env"] = {"env_vars": environment}
    with _short_temp_folder() as folder, _environment(environment | _of_its_own(folder) if local else {}):
        if local:
            cpus = num_cpus or max(os.cpu_count() or 1, MIN_CPUS)
            options |= {"num_cpus": cpus, "include_dashboard": False} | _private_options(folder)
        try:
            _connect(chosen, options, folder)
            if not local:
                require_version(str(chosen), "rayox", version("rayox"))
            with head_watched(str(chosen), str(ray.get_runtime_context().gcs_address)):
                yield
        finally:
            _shut_down(folder)


def _connect(chosen: Address, options: Mapping[str, Any], folder: Path) -> None:
    """A Ray of this machine that is too slow for Ray's own patience is started again, which finds its files read."""
    import ray

    local = chosen.text is None
    for tries_left in reversed(range(START_TRIES if local else 1)):
        try:
            with (
                _sigterm_blocked() if local else nullcontext(),
                signals_kept(),
                _as_it_listens(chosen.text),
                _path_without_spaces(folder),
            ):
                ray.init(address=chosen.text or "local", **options)
            return
        except Exception as error:
            if not tries_left or STARTED_TOO_SLOWLY not in str(error):
                raise not_connected(chosen, error) from error
        logging.getLogger("rayox").warning(
            "Ray did not start within 30 seconds on this busy machine; starting it again"
        )
        _shut_down(folder)


def _as_it_listens(address: str | None) -> AbstractContextManager[None]:
    """For a Ray that is started here, or one at an address of this machine that nobody else reaches."""
    if address is None:
        return loopback_allowed()
    return on_loopback() if only_on_loopback(address) else nullcontext()


def _private_options(folder: Path) -> dict[str, str]:
    """Of ray.init, for a cluster in a folder that stays on loopback; that has no public way (see ray_start.py)."""
    return {"_node_ip_address": LOOPBACK} | ({} if is_plain() else {"_temp_dir": str(folder)})


def _of_its_own(folder: Path) -> dict[str, str]:
    """Variables of a cluster in a folder that is removed with it."""
    return _own_token(folder) | ({"RAY_TMPDIR": str(folder)} if is_plain() else {})


def _own_token(folder: Path) -> dict[str, str]:
    """Where a Ray that nobody else uses finds its token, unless the user has one: Ray would write it into the home."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled" or token() is not None:
        return {}
    path = folder / "auth_token"
    path.touch(mode=0o600)
    path.write_text(_token_of_this_process())
    return {"RAY_AUTH_TOKEN_PATH": str(path)}


@cache
def _token_of_this_process() -> str:
    """One for every Ray that it starts: Ray reads a process's own token only once."""
    return secrets.token_hex(32)


@contextmanager
def _path_without_spaces(folder: Path) -> Iterator[None]:
    """What starts meanwhile has an interpreter whose path has none."""
    before = sys.executable
    sys.executable = python_without_spaces(folder)
    try:
        yield
    finally:
        sys.executable = before


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """What starts meanwhile never sees SIGTERM: schedulers send it to a whole group, and Ray must outlive a saving."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shut_down(folder: Path) -> None:
    """ray.shutdown, which alone would wait a second for each local process to obey a SIGTERM that it cannot see."""
    import ray

    over = threading.Event()
    killer = threading.Thread(target=_kill_when_disconnected, args=(folder, over), daemon=True)
    killer.start()
    try:
        ray.shutdown()
    finally:
        over.set()
    killer.join()


def _kill_when_disconnected(folder: Path, over: threading.Event) -> None:
    """Kill the processes that name this session's folder in their command line, and all that they have started."""
    import psutil  # type: ignore[import-untyped]
    import ray

    while ray.is_initialized() and not over.wait(0.01):
        pass
    started = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may end just now
            if any(str(folder) in word for word in child.cmdline()):
                started += [child, *child.children(recursive=True)]
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables that a local cluster's processes inherit; given by Ray's runtime_env each would start seconds later."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _short_temp_folder() -> Iterator[Path]:
    root = Path(tempfile.gettempdir())
    if len(os.fsencode(root)) > MAX_TEMP_FOLDER_BYTES - 12 or " " in str(root):
        root = Path("/tmp")
    with tempfile.TemporaryDirectory(prefix="rayox-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
