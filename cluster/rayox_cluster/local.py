"""Ray on this machine, or the cluster at an address, for the length of one verb: started quietly, always ended."""

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayox_model.errors import ClusterError

# Socket paths end at 107 bytes and Ray appends about 60 of its own.
MAX_TEMP_FOLDER_BYTES = 40


@contextmanager
def ray_session(
    address: str | None, num_cpus: int | None = None, worker_environment: dict[str, str] | None = None
) -> Iterator[None]:
    """A connection to Ray: a cluster of its own on this machine when address is None or "local".

    num_cpus counts logical CPUs of that local cluster (default: all of this machine). Raises ClusterError when
    nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # today's default warns about tomorrow's
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    # Ray's own 15 gives a training a tenth of the machine beside any other busy program.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    runtime: dict[str, object] = {"env_vars": worker_environment or {}}
    local = address in (None, "local")
    if local:  # Ray hands the interpreter's path to a shell as it stands: one with a space must come quoted
        runtime["py_executable"] = shlex.quote(sys.executable)
    try:
        if local:
            with _short_temp_folder() as folder:
                ray.init(
                    address="local",
                    num_cpus=num_cpus or os.cpu_count(),
                    include_dashboard=False,
                    logging_level="ERROR",
                    log_to_driver=False,
                    _temp_dir=str(folder),
                    runtime_env=runtime,
                )
                try:
                    yield
                finally:
                    ray.shutdown()
        else:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, runtime_env=runtime)
            try:
                yield
            finally:
                ray.shutdown()
    except ConnectionError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address}: {error}",
            "leave the address out to run on this machine, or check that the cluster is up",
        ) from error


@contextmanager
def _short_temp_folder() -> Iterator[Path]:
    root = Path(os.environ.get("TMPDIR", "/tmp"))
    if len(os.fsencode(root)) > MAX_TEMP_FOLDER_BYTES - 12:
        root = Path("/tmp")
    with tempfile.TemporaryDirectory(prefix="rayox-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
