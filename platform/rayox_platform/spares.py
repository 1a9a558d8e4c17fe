"""Processes that Ray starts before it needs them: without them most of a restart goes to starting Python.

After a fault Ray Train starts anew every training worker, for which torch is imported, and three actors of its own in
front of the stream, one after the other. Ray gives a process that it was asked to start early to the next actor or
task of the same job and environment. What is not used ends with the job.
"""

import time
from contextlib import suppress
from threading import Thread

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
from ray.exceptions import RayError

from rayox_platform.imports import IMPORT_ALL

KEEP_SECONDS = 7 * 24 * 3600
ANSWER_SECONDS = 10.0
SETTLED_SECONDS = 15.0  # from the start of the workers: then they train, and a processor has time for spares
EVERY_SECONDS = 3.0  # a raylet starts no more at once than its node has CPUs
HELPERS = 4  # of Ray Train and Ray Data, at every start: two for the workers, two for the stream

# In the environment of a training worker: what its process calls before Ray gives it any work.
ENVIRONMENT = {WORKER_PROCESS_SETUP_HOOK_ENV_VAR: IMPORT_ALL}


def keep_spare_worker() -> None:
    """Called by a training worker: one more process like its own, on the same node. Returns at once."""
    Thread(target=_start, args=(0.0, 1), name="rayox-spares", daemon=True).start()


def keep_spare_helpers() -> None:
    """Called by Ray Train's controller at every start: a process for this start's stream, and later for the next."""
    Thread(target=_start, args=(0.0, 1), name="rayox-spares", daemon=True).start()
    Thread(target=_start, args=(SETTLED_SECONDS, HELPERS), name="rayox-spares", daemon=True).start()


def _start(after_seconds: float, count: int) -> None:
    """One after the other; where that is refused, a restart only takes longer."""
    time.sleep(after_seconds)
    for _ in range(count):
        with suppress(grpc.RpcError, RayError):
            _start_one()
        time.sleep(EVERY_SECONDS)


def _start_one() -> None:
    """Ask this node's raylet for a process like this one, by an RPC that Ray has no function for."""
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    environment = runtime_environment_pb2.RuntimeEnvInfo(serialized_runtime_env=context.get_runtime_env_string())
    request = node_manager_pb2.PrestartWorkersRequest(
        language=common_pb2.Language.PYTHON,
        job_id=bytes.fromhex(context.get_job_id()),
        runtime_env_info=environment,
        keep_alive_duration_secs=KEEP_SECONDS,
        num_workers=1,
    )
    address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    with init_grpc_channel(address) as channel:
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=ANSWER_SECONDS)
