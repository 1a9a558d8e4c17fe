"""Ray on this machine, or the cluster at an address, for the length of one verb: started quietly, always ended."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path

from rayox_cluster.address import cluster_address
from rayox_cluster.connection import not_connected, reach, require_version
from rayox_cluster.lookout import head_watched

# Socket paths end at 107 bytes and Ray appends about 60 of its own.
MAX_TEMP_FOLDER_BYTES = 40
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
FOR_EVERY_PROCESS = ("RAY_TRAIN_", "RAY_WARN_")  # settings that processes on other machines would not inherit


@contextmanager
def ray_session(
    address: str | None,
    num_cpus: int | None = None,
    worker_environment: dict[str, str] | None = None,
    first_call: str | None = None,
) -> Iterator[None]:
    """A connection to Ray at an address; without one at that of RAY_ADDRESS, or a cluster of its own on this machine.

    "local" is such a cluster whatever RAY_ADDRESS says. num_cpus counts its logical CPUs (default: all of this
    machine); first_call names a function (module.function) that each of its processes calls before any work. Raises
    ClusterError when nothing answers at the address, or what answers cannot run this version of rayox.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray
    from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR

    chosen = cluster_address(address)
    local = chosen.text is None
    if not local:
        reach(chosen)
    environment = dict(worker_environment or {})
    if local:
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # nobody will give notice: a process less
        environment |= {name: os.environ.get(name, LOOPBACK_INTERFACE) for name in INTERFACE_VARIABLES}
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
            options["_node_ip_address"] = LOOPBACK
        try:
            try:
                with (
                    _sigterm_blocked() if local else nullcontext(),
                    _signals_kept(),
                    _fewer_processes() if local else nullcontext(),
                    _loopback_allowed() if local else nullcontext(),
                    _path_without_spaces(folder),
                ):
                    ray.init(address=chosen.text or "local", **options)
            except Exception as error:
                raise not_connected(chosen, error) from error
            if local:
                _kill_at_shutdown()
            else:
                require_version(str(chosen), "rayox", version("rayox"))
            with head_watched(str(chosen), str(ray.get_runtime_context().gcs_address)):
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
def _signals_kept() -> Iterator[None]:
    """Ray puts handlers of its own in place, which leave with another exit code and without a last word."""
    from ray._private import utils

    set_handler = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler


@contextmanager
def _loopback_allowed() -> Iterator[None]:
    """Ray takes this machine's address in its network for 127.0.0.1, and then listens on all of its interfaces.

    With the loopback address as it was given, all of Ray's processes listen on that alone.
    """
    from ray._private import services

    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = resolve


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


@contextmanager
def _short_temp_folder() -> Iterator[Path]:
    root = Path(tempfile.gettempdir())
    if len(os.fsencode(root)) > MAX_TEMP_FOLDER_BYTES - 12 or " " in str(root):
        root = Path("/tmp")
    with tempfile.TemporaryDirectory(prefix="rayox-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
