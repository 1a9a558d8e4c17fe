"""A spare process beside every training worker: started, and with all imported, before one has to be replaced.

After a fault Ray Train starts every worker anew, and most of that time goes to starting Python and importing torch.
Ray gives a process that it was asked to start early to the next actor of the same job and environment.
"""

import importlib
from contextlib import suppress
from threading import Thread

import ray
from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR

KEEP_SECONDS = 7 * 24 * 3600
ANSWER_SECONDS = 10.0
# torch.optim imports torch's compiler when the first optimiser is made; workers import the others themselves.
IMPORTED = ("rayox_platform.worker", "torch._dynamo")

# What a training worker's process has in its environment: Ray calls the function before it gives it any work.
ENVIRONMENT = {WORKER_PROCESS_SETUP_HOOK_ENV_VAR: "rayox_platform.spares.import_all"}


def import_all() -> None:
    for name in IMPORTED:
        with suppress(ImportError):  # the worker itself says what is missing
            importlib.import_module(name)


def start_spare() -> None:
    """Ask this node's Ray for one more process like this one; returns at once."""
    Thread(target=_start_spare, name="rayox-spare", daemon=True).start()


def _start_spare() -> None:
    """By Ray's own RPC for it, which has no Python function."""
    try:
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
    except ImportError:
        return
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    request = node_manager_pb2.PrestartWorkersRequest(
        language=common_pb2.Language.PYTHON,
        job_id=bytes.fromhex(context.get_job_id()),
        runtime_env_info=runtime_environment_pb2.RuntimeEnvInfo(
            serialized_runtime_env=context.get_runtime_env_string()
        ),
        keep_alive_duration_secs=KEEP_SECONDS,
        num_workers=1,
    )
    address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    with init_grpc_channel(address) as channel:
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=ANSWER_SECONDS)
