"""Which Ray cluster a verb runs on: the address it was given, the one of RAY_ADDRESS, or one of its own.

Ray sets RAY_ADDRESS for the jobs that it runs, so inside one a verb joins the cluster it is on. A second Ray there
would take over the job's runtime environment and die of it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from rayox_cluster.cluster_record import read_record
from rayox_model.core.errors import ClusterError

LOCAL = "local"
VARIABLE = "RAY_ADDRESS"
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray gives it to the drivers of its jobs, and to them alone


@dataclass(frozen=True)
class Address:
    """Where a running cluster is found; text is None where Ray is to be started on this machine."""

    text: str | None
    origin: str  # where it was said: "--address" or "RAY_ADDRESS"

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.text and self.origin == VARIABLE else ""
        return f"{self.text or 'this machine'}{where}"


def cluster_address(given: str | None) -> Address:
    """The given address, or that of the environment; that of `cluster up` here in either form, with its token.

    Raises ClusterError for one that no driver can run at.
    """
    origin = "--address" if given else VARIABLE
    text = given or os.environ.get(VARIABLE) or LOCAL
    if text == LOCAL:
        if given and is_ray_job():
            raise ClusterError(
                "--address local: this is a Ray job, in which no second Ray can be started",
                "leave --address out: a job runs on the cluster that it was submitted to",
            )
        return Address(None, origin)
    record = read_record(Path(os.environ.get("RAYOX_STATE") or ".rayox").absolute())
    if record is not None and not record.is_elsewhere and text in (record.address, record.dashboard):
        os.environ.update(record.access())
        return Address(record.address, origin)
    _check_kind(text, origin)
    return Address(text, origin)


def is_ray_job() -> bool:
    """Whether this process is the driver of a Ray job, or was started by one."""
    return JOB_VARIABLE in os.environ


def _check_kind(text: str, origin: str) -> None:
    """Ray itself would take a web address for a host's name, and its client knows a part of what a driver needs."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return
    rest = rest.rpartition("@")[2]  # a password is for nobody to see
    place = rest.partition("/")[0]
    host, text = place.rpartition(":")[0] or place or "HOST", f"{scheme}://{rest}"
    if scheme in ("http", "https"):
        raise ClusterError(
            f"{origin}: {text} is the address of a dashboard, which takes jobs and no drivers",
            f"hand the verb to the cluster with `rayox submit --address {text} -- …`, or give Ray's own address, "
            f"as {host}:6379",
        )
    if scheme == "ray":
        raise ClusterError(
            f"{origin}: {text} is an address of Ray Client, through which no training can be driven",
            f"on a machine that reaches all nodes give {host}:6379; from elsewhere `rayox submit --address "
            f"http://{host}:8265 -- …`",
        )
    raise ClusterError(f"{origin}: {text!r} is not an address of a Ray cluster", "give HOST:PORT, auto or local")
