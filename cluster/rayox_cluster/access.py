"""How this process gets to a cluster: its dashboard by any form of address, its token from variable or file."""

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests

from rayox_cluster.address import LOCAL, VARIABLE
from rayox_cluster.cluster_record import ClusterRecord, read_record, require_here
from rayox_model.core.errors import ClusterError, ConfigError

PROBE_SECONDS = 5.0
DASHBOARD_WANTED = "give the dashboard's address, as http://HEAD:8265"
DEFAULT_TOKEN = Path("~/.ray/auth_token")


def token() -> str | None:
    """As Ray finds it: RAY_AUTH_TOKEN, the file of RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token. Raises ConfigError."""
    given = os.environ.get("RAY_AUTH_TOKEN")
    if given:
        return given.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        return Path(path or DEFAULT_TOKEN).expanduser().read_text().strip() or None
    except (OSError, RuntimeError) as error:  # there may be no home
        if path:
            raise ConfigError(
                f"RAY_AUTH_TOKEN_PATH: {path} cannot be read ({error.__class__.__name__})",
                "name the file that has the cluster's token",
            ) from error
        return None


def auth_headers() -> dict[str, str]:
    """For requests to a cluster that may ask for a token."""
    found = token()
    return {"Authorization": f"Bearer {found}"} if found else {}


def is_beyond_loopback(url: str) -> bool:
    host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def named_dashboard(given: str | None) -> str | None:
    """The given address, or that of RAY_ADDRESS, which has to be a dashboard's as well; a Ray of its own is none."""
    variable = os.environ.get(VARIABLE) or LOCAL
    return given or (variable if variable != LOCAL else None)


def find_cluster(address: str | None, state: Path) -> tuple[str, ClusterRecord | None]:
    """The dashboard of a cluster, and its record when `cluster up` started it here.

    address may be that of Ray or of the dashboard; without one it is the local cluster's. Its token is set for this
    process. Raises ClusterError when there is no such cluster.
    """
    record = read_record(state)
    if record is not None and address is None:
        require_here(record)
    if record is not None and not record.is_elsewhere and address in (None, record.address, record.dashboard):
        os.environ.update(record.access())
        os.environ.pop("RAY_AUTH_TOKEN", None)
        return record.dashboard, record
    if address is None:
        raise ClusterError(
            "no cluster is named and none is up here",
            "give --address or RAY_ADDRESS (http://HEAD:8265), or start a local one with `rayox cluster up`",
        )
    return _dashboard(address, VARIABLE if address == os.environ.get(VARIABLE) else "--address"), None


def _dashboard(address: str, origin: str) -> str:
    """http:// addresses as they stand; host:port is asked whether it is a dashboard."""
    if address == "auto":
        raise ClusterError(f"{origin}: auto is for drivers on a node of a cluster", DASHBOARD_WANTED)
    scheme, colon, rest = address.partition("://")
    if not colon:
        scheme, rest = "http", address
    if scheme == "ray":
        raise ClusterError(
            f"{origin}: {address} is the address of a Ray client, which takes no jobs",
            f"give the dashboard's: http://{rest.partition(':')[0]}:8265",
        )
    if scheme not in ("http", "https"):
        raise ClusterError(f"{origin}: {address} is not a cluster address", DASHBOARD_WANTED)
    if "@" in rest:
        raise ClusterError(
            "the address of the cluster has a user or password in it",
            "give the token by RAY_AUTH_TOKEN_PATH; an address is written to logs",
        )
    if not colon:
        _require_http(address, origin)
    return f"{scheme}://{rest}"


def _require_http(address: str, origin: str) -> None:
    """Ray's own port speaks another protocol: a request to it fails in ways that say nothing."""
    try:
        requests.get(f"http://{address}/api/version", timeout=PROBE_SECONDS)
    except requests.exceptions.ConnectionError as error:
        if "refused" in str(error) or "resolve" in str(error) or "timed out" in str(error):
            return  # nothing is there, which the first request says
        raise _no_dashboard(address, origin) from error
    except requests.RequestException as error:
        raise _no_dashboard(address, origin) from error


def _no_dashboard(address: str, origin: str) -> ClusterError:
    return ClusterError(
        f"{origin}: {address} is Ray's own port, not its dashboard's, which takes jobs",
        f"give the dashboard's: http://{address.partition(':')[0]}:8265 unless it was set otherwise",
    )
