"""Processes that Ray starts before it needs them: without them most of a start goes to starting Python.

On one machine those of a run's first start begin while the driver still prepares the run. After a fault Ray Train
starts anew every training worker, for which torch is imported, and three actors of its own in front of the stream, one
after the other. Ray gives a process that it was asked to start early to the next actor or task of the same job and
environment; what is not used ends with the job. With it a killed worker is replaced in 3.4 s instead of 22.7, and a
first step comes after 36 to 39 s instead of 49. Without it a start and a restart wait for each process in turn.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Any, NamedTuple

import grpc
import ray
from ray.runtime_env import RuntimeEnv

from rayox_platform.ray_internals.first_call import first_call
from rayox_platform.ray_internals.preloading import IMPORT_ALL
from rayox_platform.ray_internals.switch import attempt

TRICK = "processes started ahead"
KEEP_SECONDS = 7 * 24 * 3600
ANSWER_SECONDS = 10.0
SETTLED_SECONDS = 15.0  # from the start of the workers: then they train, and a processor has time for spares
EVERY_SECONDS = 3.0  # a raylet starts no more at once than its node has CPUs
HELPERS = 4  # of Ray Train and Ray Data, at every start: two for the workers, two for the stream
CONTROLLER = {"RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0"}  # what Ray Train adds to the environment of its controller


def worker_environment() -> dict[str, str]:
    """Variables of a training worker. Its process imports everything before Ray gives it any work.

    And the C library keeps what a step has freed for the next one: given back, it comes again zeroed page by page, an
    eighth of a step's time on a CPU.
    """
    return first_call(IMPORT_ALL) | {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}


def start_first(num_workers: int) -> None:
    """Called by the driver on a cluster of one machine: what the start of a run will need. Returns at once."""

    def start() -> None:
        raylet, propagated = _raylet(), _propagated()
        controller = _with(_environment(), CONTROLLER | propagated)
        _in_background(_ask, raylet, controller, 1)
        worker = _as_ray_joins(_with(controller, propagated | worker_environment()))
        _in_background(_ask, raylet, worker, num_workers)
        _in_background(_keep_asking, raylet, controller, EVERY_SECONDS, HELPERS)

    attempt(TRICK, start, None)


def keep_spare_worker() -> None:
    """Called by a training worker: one more process like its own, on the same node. Returns at once."""
    attempt(TRICK, lambda: _in_background(_ask, _raylet(), _environment(), 1), None)


def keep_spare_helpers() -> None:
    """Called by Ray Train's controller at every start: a process for this start's stream, and later for the next."""

    def keep() -> None:
        raylet, environment = _raylet(), _environment()
        _in_background(_ask, raylet, environment, 1)
        _in_background(_keep_asking, raylet, environment, SETTLED_SECONDS, HELPERS)

    attempt(TRICK, keep, None)


def _in_background(call: Callable[..., None], *arguments: object) -> None:
    Thread(target=call, args=arguments, name="rayox-prestart", daemon=True).start()


def _environment() -> str:
    return str(ray.get_runtime_context().get_runtime_env_string())


def _propagated() -> dict[str, str]:
    """Variables that Ray Train hands from the driver to its controller and from there to every worker."""
    from ray.train.v2._internal.constants import get_env_vars_to_propagate

    return dict(get_env_vars_to_propagate())


def _with(environment: str, variables: dict[str, str]) -> str:
    """What Ray makes of an environment and of variables added to it; a process of another one is never used."""
    from ray.runtime_env.runtime_env import _merge_runtime_env

    added = RuntimeEnv(env_vars=variables)
    return str(_merge_runtime_env(RuntimeEnv.deserialize(environment), added, override=True).serialize())


def _as_ray_joins(environment: str) -> str:
    """An actor's environment joined to that of the actor that makes it: Ray's core writes it without spaces."""
    return json.dumps(json.loads(environment), separators=(",", ":"), sort_keys=True)


class _Raylet(NamedTuple):
    """This node's, and the job it is asked for; looked up at once, as Ray may be gone when it is asked."""

    address: str
    job: bytes


def _raylet() -> _Raylet:
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    _messages().channel(address).close()  # what that imports is imported here, and in no thread beside another
    return _Raylet(address, bytes.fromhex(context.get_job_id()))


def _keep_asking(raylet: _Raylet, environment: str, after_seconds: float, count: int) -> None:
    time.sleep(after_seconds)
    for _ in range(count):
        _ask(raylet, environment, 1)
        time.sleep(EVERY_SECONDS)


def _ask(raylet: _Raylet, environment: str, count: int) -> None:
    attempt(TRICK, lambda: _request(raylet, environment, count), None)


def _request(raylet: _Raylet, environment: str, count: int) -> None:
    """Ask for processes by an RPC that Ray has no function for; where it is refused, a start only takes longer."""
    messages = _messages()
    request = messages.request(
        language=messages.python,
        job_id=raylet.job,
        runtime_env_info=messages.environment(serialized_runtime_env=environment),
        keep_alive_duration_secs=KEEP_SECONDS,
        num_workers=count,
    )
    with suppress(grpc.RpcError), messages.channel(raylet.address) as channel:
        messages.raylet(channel).PrestartWorkers(request, timeout=ANSWER_SECONDS)


class _Messages(NamedTuple):
    """Ray's own RPC, of which it makes no promise."""

    channel: Callable[[str], Any]
    request: Callable[..., Any]
    environment: Callable[..., Any]
    raylet: Callable[[Any], Any]
    python: int


@cache
def _messages() -> _Messages:
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2

    return _Messages(
        init_grpc_channel,
        node_manager_pb2.PrestartWorkersRequest,
        runtime_environment_pb2.RuntimeEnvInfo,
        node_manager_pb2_grpc.NodeManagerServiceStub,
        common_pb2.Language.PYTHON,
    )
