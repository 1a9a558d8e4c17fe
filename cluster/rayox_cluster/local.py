"""Ray on this machine, or the cluster at an address, for the length of one verb: started quietly, always ended."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rayox_model.core.errors import ClusterError

# Socket paths end at 107 bytes and Ray appends about 60 of its own.
MAX_TEMP_FOLDER_BYTES = 40
ANSWER_SECONDS = 10.0
PROCESS_SECONDS = 60.0
MIN_CPUS = 2  # logical ones: on a single core training and its data take turns

RAY_SETTINGS = {  # for whoever has not set them
    "RAY_USAGE_STATS_ENABLED": "0",
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
FOR_EVERY_PROCESS = ("RAY_TRAIN_", "RAY_WARN_")  # settings that processes on other machines would not inherit


@contextmanager
def ray_session(
    address: str | None,
    num_cpus: int | None = None,
    worker_environment: dict[str, str] | None = None,
    first_call: str | None = None,
) -> Iterator[None]:
    """A connection to Ray: a cluster of its own on this machine when address is None or "local".

    num_cpus counts logical CPUs of that local cluster (default: all of this machine); first_call names a function
    (module.function) that each of its processes calls before any work. Raises ClusterError when nothing answers at the
    address, or what answers cannot run this version of rayox.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray
    from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR

    local = address in (None, "local")
    if address is not None and not local:
        _reach(address)
    environment = dict(worker_environment or {})
    if local:  # nobody gives notice that this machine will be taken away: a process less
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    if local and first_call:
        environment[WORKER_PROCESS_SETUP_HOOK_ENV_VAR] = first_call
    options: dict[str, object] = {"logging_level": "ERROR", "log_to_driver": False}
    if not local:
        environment |= {name: value for name, value in os.environ.items() if name.startswith(FOR_EVERY_PROCESS)}
        options["runtime_env"] = {"env_vars": environment}
    with _short_temp_folder() as folder, _environment(environment if local else {}):
        if local:
            cpus = num_cpus or max(os.cpu_count() or 1, MIN_CPUS)
            options |= {"num_cpus": cpus, "include_dashboard": False, "_temp_dir": str(folder)}
        try:
            try:
                with (
                    _sigterm_blocked() if local else nullcontext(),
                    _fewer_processes() if local else nullcontext(),
                    _path_without_spaces(folder),
                ):
                    ray.init(address=address or "local", **options)
            except Exception as error:
                raise _not_connected(address, error) from error
            if local:
                _kill_at_shutdown()
            else:
                require_version(str(address), "rayox", version("rayox"))
            yield
        finally:
            ray.shutdown()


@contextmanager
def _path_without_spaces(folder: Path) -> Iterator[None]:
    """Ray hands the interpreter's path to a shell as it stands: what starts meanwhile has another one to the same."""
    before = sys.executable
    if " " in before:
        home = folder / "python"
        home.symlink_to(Path(before).parent.parent)
        sys.executable = str(home / "bin" / Path(before).name)
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


@contextmanager
def _fewer_processes() -> Iterator[None]:
    """Ray without what nobody asks on one machine: half of its start, and as much again of the CPUs' time.

    Left out are the monitors of logs (for drivers that print them) and of the autoscaler, and the server that without
    a dashboard only counts usage. Ray's own switches for them are not reached through ray.init.
    """
    from ray._private.node import Node

    needless = ["start_log_monitor", "start_monitor", "start_api_server"]
    before = {name: getattr(Node, name) for name in needless}
    for name in needless:
        setattr(Node, name, lambda node, **options: None)
    try:
        yield
    finally:
        for name, start in before.items():
            setattr(Node, name, start)


def _kill_at_shutdown() -> None:
    """Ray's own shutdown would wait a second for each process to obey a SIGTERM that it cannot see."""
    import psutil  # type: ignore[import-untyped]  # comes with Ray
    from ray._private import worker

    node = worker._global_node
    end = node.kill_all_processes

    def kill(**options: bool) -> None:
        started = []
        for pid in [process.pid for kind, process in node.live_processes() if kind == "raylet"]:
            with suppress(psutil.NoSuchProcess):  # it may end just now
                started += psutil.Process(pid).children(recursive=True)
        end(**options | {"allow_graceful": False})
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    node.kill_all_processes = kill


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


def _reach(address: str) -> None:
    """Where nothing listens Ray would knock for minutes; an address without a port ("auto") is left to it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _not_connected(address, error) from error


def require_version(address: str, package: str, wanted: str) -> None:
    """One process of the cluster we are connected to has to start and to have the package: Ray would wait for ever.

    Raises ClusterError. Of the cluster's machines one is asked, whichever Ray chooses.
    """
    import ray
    from ray.exceptions import GetTimeoutError

    asked = ray.remote(num_cpus=0)(version).remote(package)
    try:
        found = ray.get(asked, timeout=PROCESS_SECONDS)
    except GetTimeoutError:
        ray.cancel(asked, force=True)
        raise ClusterError(
            f"the cluster at {address} has started no process for {PROCESS_SECONDS:.0f} s",
            "look at raylet.err in its logs; it cannot start a Python whose path has a space",
        ) from None
    except PackageNotFoundError as error:
        raise ClusterError(
            f"the cluster at {address} has no {package}", f"install {package} {wanted} on all its machines"
        ) from error
    if found != wanted:
        raise ClusterError(
            f"the cluster at {address} has {package} {found}, this machine has {wanted}",
            "install the same version on all of them",
        )


def _not_connected(address: str | None, error: Exception) -> ClusterError:
    text = " ".join(str(error).split())[:300]
    if address in (None, "local"):
        return ClusterError(
            f"Ray cannot be started on this machine: {text}",
            "the machine may be too busy or out of memory or disk; try again, or name a running cluster by --address",
        )
    return ClusterError(
        f"no Ray cluster answers at {address}: {text}",
        "leave the address out to run on this machine, or check that the cluster is up",
    )


@contextmanager
def _short_temp_folder() -> Iterator[Path]:
    root = Path(tempfile.gettempdir())
    if len(os.fsencode(root)) > MAX_TEMP_FOLDER_BYTES - 12 or " " in str(root):
        root = Path("/tmp")
    with tempfile.TemporaryDirectory(prefix="rayox-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
