"""Where the dashboard of a local cluster listens: on loopback, or where its user has asked for it, with a token."""

import ipaddress
import os
import platform
import socket
from contextlib import suppress
from typing import NamedTuple

from rayox_cluster.access import is_beyond_loopback
from rayox_cluster.loopback_node import LOOPBACK
from rayox_model.core.errors import ConfigError

HOST, PORT = "--dashboard-host", "--dashboard-port"


class DashboardAddress(NamedTuple):
    host: str = LOOPBACK
    port: int = 0  # any that is free

    @property
    def is_open(self) -> bool:
        """Whether other machines may reach it."""
        return is_beyond_loopback(_in_url(self.host))

    @property
    def here(self) -> str:
        """Its URL on this machine."""
        return self._url(LOOPBACK if _is_any(self.host) else self.host)

    @property
    def elsewhere(self) -> str:
        """Its URL for other machines."""
        return self._url(platform.node() if _is_any(self.host) else self.host)

    def _url(self, host: str) -> str:
        return f"http://{_in_url(host)}:{self.port}"


LOOPBACK_ALONE = DashboardAddress()


def free_address(wanted: DashboardAddress) -> DashboardAddress:
    """The same with a port that can be had. Raises ConfigError for what cannot be listened at, or must not be."""
    if wanted.is_open and os.environ.get("RAY_AUTH_MODE") == "disabled":
        raise ConfigError(
            f"{HOST} {wanted.host}: RAY_AUTH_MODE=disabled asks for a cluster without a token, so whoever reaches this "
            "machine could run programs on it",
            f"unset RAY_AUTH_MODE, and the cluster gets a token of its own; or leave {HOST} out",
        )
    try:
        family = socket.getaddrinfo(wanted.host, None, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((wanted.host, 0), family=family):
            pass
    except OSError as error:
        raise ConfigError(
            f"{HOST} {wanted.host}: this machine does not have that address ({_why(error)})",
            "give one of its own, 0.0.0.0 for all of them, or leave it out for loopback alone",
        ) from error
    try:
        with socket.create_server((wanted.host, wanted.port), family=family) as server:
            return wanted._replace(port=server.getsockname()[1])
    except OSError as error:
        raise ConfigError(
            f"{PORT} {wanted.port}: nothing can listen there on {wanted.host} ({_why(error)})",
            f"give another one, or leave {PORT} out for any that is free",
        ) from error


def _why(error: OSError) -> str:
    """Without Python's own words on what it attempted."""
    return str(error.strerror).partition(" (while")[0]


def _is_any(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
