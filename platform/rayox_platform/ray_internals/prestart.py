"""Processes that Ray starts before it needs them: without them most of a start goes to starting Python.

On one machine those of a run's first start begin while the driver still prepares the run. After a fault Ray Train
starts anew every training worker, for which torch is imported, and three actors of its own in front of the stream, one
after the other. Ray gives a process that it was asked to start early to the next actor or task of the same job and
environment. What is not used ends with the job.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import NamedTuple

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
from ray.runtime_env import RuntimeEnv
from ray.runtime_env.runtime_env import _merge_runtime_env
from ray.train.v2._internal.constants import get_env_vars_to_propagate

from rayox_platform.resources.preloading import IMPORT_ALL

KEEP_SECONDS = 7 * 24 * 3600
ANSWER_SECONDS = 10.0
SETTLED_SECONDS = 15.0  # from the start of the workers: then they train, and a processor has time for spares
EVERY_SECONDS = 3.0  # a raylet starts no more at once than its node has CPUs
HELPERS = 4  # of Ray Train and Ray Data, at every start: two for the workers, two for the stream

# Of a training worker. Its process imports everything before Ray gives it any work. And the C library keeps what a step
# has freed for the next one: given back, it comes again zeroed page by page, an eighth of a step's time on a CPU.
ENVIRONMENT = {
    WORKER_PROCESS_SETUP_HOOK_ENV_VAR: IMPORT_ALL,
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}


def start_first(num_workers: int) -> None:
    """Called by the driver on a cluster of one machine: what the start of a run will need. Returns at once."""
    raylet = _raylet()
    _in_background(_ask, raylet, _worker_environment(), num_workers)
    _in_background(_keep_asking, raylet, _environment(), EVERY_SECONDS, HELPERS)


def keep_spare_worker() -> None:
    """Called by a training worker: one more process like its own, on the same node. Returns at once."""
    _in_background(_ask, _raylet(), _environment(), 1)


def keep_spare_helpers() -> None:
    """Called by Ray Train's controller at every start: a process for this start's stream, and later for the next."""
    raylet, environment = _raylet(), _environment()
    _in_background(_ask, raylet, environment, 1)
    _in_background(_keep_asking, raylet, environment, SETTLED_SECONDS, HELPERS)


def _in_background(call: Callable[..., None], *arguments: object) -> None:
    Thread(target=call, args=arguments, name="rayox-spares", daemon=True).start()


def _environment() -> str:
    return str(ray.get_runtime_context().get_runtime_env_string())


def _worker_environment() -> str:
    """What Ray Train makes of the job's environment, its own variables and ours; another one only costs time."""
    added = RuntimeEnv(env_vars=get_env_vars_to_propagate() | ENVIRONMENT)
    return str(_merge_runtime_env(RuntimeEnv.deserialize(_environment()), added, override=True).serialize())


class _Raylet(NamedTuple):
    """This node's, and the job it is asked for; looked up at once, as Ray may be gone when it is asked."""

    address: str
    job: bytes


def _raylet() -> _Raylet:
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    init_grpc_channel(address).close()  # what that imports is imported here, and in no thread beside another
    return _Raylet(address, bytes.fromhex(context.get_job_id()))


def _keep_asking(raylet: _Raylet, environment: str, after_seconds: float, count: int) -> None:
    time.sleep(after_seconds)
    for _ in range(count):
        _ask(raylet, environment, 1)
        time.sleep(EVERY_SECONDS)


def _ask(raylet: _Raylet, environment: str, count: int) -> None:
    """Ask for processes by an RPC that Ray has no function for; where it is refused, a start only takes longer."""
    request = node_manager_pb2.PrestartWorkersRequest(
        language=common_pb2.Language.PYTHON,
        job_id=raylet.job,
        runtime_env_info=runtime_environment_pb2.RuntimeEnvInfo(serialized_runtime_env=environment),
        keep_alive_duration_secs=KEEP_SECONDS,
        num_workers=count,
    )
    with suppress(grpc.RpcError), init_grpc_channel(raylet.address) as channel:
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=ANSWER_SECONDS)
