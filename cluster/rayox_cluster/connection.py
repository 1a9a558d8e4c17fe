"""Whether a cluster at an address can be used: that it answers, takes us, and has this version of rayox.

Private parts of Ray are asked whether it takes our token. They buy the cause by name where Ray reports a missing token
as a missing cluster, after minutes (not measured); with RAYOX_PLAIN_RAY=1 and on a Ray that has moved them what Ray
says itself is what a user gets.
"""

import os
import socket
from importlib.metadata import PackageNotFoundError, version

from rayox_cluster.address import VARIABLE, Address
from rayox_cluster.tls import check_tls
from rayox_model.core.errors import ClusterError
from rayox_model.core.plain_ray import is_plain

ANSWER_SECONDS = 10.0
PROCESS_SECONDS = 60.0


def reach(address: Address) -> None:
    """Whether a cluster listens there, talks TLS as we do and takes our token.

    An address without a port ("auto") is left to Ray, which would retry for minutes where nothing listens, and report
    a missing token only as a missing cluster. Raises ClusterError.
    """
    host, _, port = (address.text or "").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise not_connected(address, error) from error
    check_tls(str(address.text))
    if not is_plain():
        _show_token(address)


def _show_token(address: Address) -> None:
    """Ask for the cluster's id, as Ray does first; whatever else goes wrong with that, Ray says better."""
    import grpc
    from ray.exceptions import AuthenticationError

    try:
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
    except ImportError:  # of another Ray
        return
    try:
        with init_grpc_channel(str(address.text)) as channel:
            asked = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            asked.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=ANSWER_SECONDS)
    except AuthenticationError as error:  # RAY_AUTH_MODE=token, and no token is to be found
        raise _no_entry(address) from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise _no_entry(address) from error


def require_version(address: str, package: str, wanted: str) -> None:
    """One process of the cluster we are connected to has to start and to have the package: Ray would wait forever.

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


def not_connected(address: Address, error: Exception) -> ClusterError:
    """What Ray, or the system, said when nothing could be started or reached."""
    text = " ".join(str(error).split())[:300]
    if address.text is None:
        return ClusterError(
            f"Ray cannot be started on this machine: {text}",
            "the machine may be too busy or out of memory or disk; try again, or name a running cluster by --address",
        )
    local = f"unset {VARIABLE}, or give --address local," if address.origin == VARIABLE else "leave the address out"
    return ClusterError(
        f"no Ray cluster answers at {address}: {text}",
        f"{local} to run on this machine, or check that the cluster is up",
    )


def _no_entry(address: Address) -> ClusterError:
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode != "token":
        said = f"RAY_AUTH_MODE is {mode}" if mode else "RAY_AUTH_MODE is not set"
        return ClusterError(
            f"the cluster at {address} asks for a token, and {said} here",
            "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token",
        )
    return ClusterError(
        f"the cluster at {address} does not take the token of this machine",
        "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to the file with it, to the cluster's own token",
    )
