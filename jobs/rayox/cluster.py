"""`rayox cluster`: a real cluster on this machine, to try what runs on many."""

import os
import shlex
from typing import TYPE_CHECKING

import click

from rayox.terminal.console import Console, json_option

if TYPE_CHECKING:
    from rayox_cluster.cluster_record import ClusterRecord

DEFAULT_NODES = 3


@click.group("cluster")
def command() -> None:
    """Start, look at and end a cluster of several nodes on this machine."""


@command.command("up")
@click.option("--nodes", type=click.IntRange(min=1), default=DEFAULT_NODES, show_default=True)
@click.option("--cpus-per-node", type=click.IntRange(min=1), help="By default this machine's, shared out; at least 1.")
@click.option(
    "--dashboard-host",
    default="127.0.0.1",
    show_default=True,
    help="Where the dashboard, which takes jobs, listens: an address of this machine, or 0.0.0.0 for all of them.",
)
@click.option("--dashboard-port", type=click.IntRange(min=1, max=65535), help="By default any that is free.")
@json_option
def up_command(
    nodes: int, cpus_per_node: int | None, dashboard_host: str, dashboard_port: int | None, as_json: bool
) -> None:
    """Start NODES nodes with an MLflow server and a folder for runs; they go on until `rayox cluster down`."""
    from rayox_cluster.dashboard_address import DashboardAddress
    from rayox_cluster.local_nodes import up
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    cpus = cpus_per_node or max((os.cpu_count() or 1) // nodes, 1)
    asked = DashboardAddress(dashboard_host, dashboard_port or 0)
    record = up(state_folder(), nodes, cpus, console.note, dashboard=asked)
    console.text(f"address    {record.address}")
    console.text(f"dashboard  {record.dashboard} (its token is in {record.token_path})")
    console.text(f"runs       {record.storage}")
    console.text(f"MLflow     {record.tracking}")
    console.text("next       rayox submit --follow -- train shapes; rayox cluster down")
    variables = " ".join(f"{name}={value}" for name, value in record.access().items())
    console.text(f"others     programs that use Ray themselves need: export {variables}")
    if asked.is_open:
        _tell_other_machines(record, console)
    console.result({"address": record.address, "dashboard": record.dashboard, "nodes": record.nodes})


def _tell_other_machines(record: "ClusterRecord", console: Console) -> None:
    from rayox_cluster.dashboard_address import DashboardAddress

    port = int(record.dashboard.rpartition(":")[2])
    url = DashboardAddress(record.dashboard_host, port).elsewhere
    places = f"storage={shlex.quote(record.storage)} tracking.uri={record.tracking}"
    console.text(
        "elsewhere  with a copy of the token: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=COPY "
        f"rayox submit --address {url} -- train shapes {places}"
    )
    console.note(
        f"whoever has the token and reaches {url} can run programs here as you, and the token goes there "
        "unencrypted: across a network that you do not trust, use a tunnel (ssh -L) to loopback instead"
    )


@command.command("status")
@json_option
def status_command(as_json: bool) -> None:
    """Say whether there is a cluster, and which of its processes run."""
    from rayox_cluster.cluster_record import read_record
    from rayox_platform.storage.state import state_folder

    console, record = Console(as_json), read_record(state_folder())
    if record is None:
        console.text("no cluster is up; `rayox cluster up` starts one")
        console.result({"up": False, "nodes": 0})
        return
    rows = [(one.role, one.process.pid, "runs" if one.process.is_alive else "ended") for one in record.started]
    console.table(("process", "pid", "state"), rows)
    if record.is_elsewhere:
        console.text(f"it is on {record.host}, and cannot be seen from this machine")
    elif not record.is_alive:
        console.text("it has not started or has crashed; `rayox cluster down` ends what is left of it")
    console.text(f"address    {record.address}")
    console.text(f"dashboard  {record.dashboard}")
    result = {"up": record.is_alive, "address": record.address, "dashboard": record.dashboard, "nodes": record.nodes}
    console.result(result | {"processes": [{"role": role, "pid": pid, "state": state} for role, pid, state in rows]})


@command.command("down")
@json_option
def down_command(as_json: bool) -> None:
    """End what `cluster up` has started, and nothing else; runs and MLflow's records stay."""
    from rayox_cluster.local_nodes import down
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    ended = down(state_folder())
    console.text("no cluster is up" if ended is None else f"the cluster is down ({ended} processes ended)")
    console.result({"ended": ended or 0})


@command.command("template")
@click.argument("kind")
@click.argument("words", nargs=-1, metavar="[KEY=VALUE]...")
@json_option
def template_command(kind: str, words: tuple[str, ...], as_json: bool) -> None:
    """Print the manifest of a cluster: kuberay, kuberay-job, kuberay-cron, aws, gcp, compose or dockerfile."""
    from rayox_cluster.templates.reading import read_values
    from rayox_cluster.templates.render import DOCKERFILE, KINDS, render, without_use

    kinds = [*KINDS, DOCKERFILE]
    if kind not in kinds:
        raise click.UsageError(f"{kind!r} is not a kind of template; there are {', '.join(kinds)}")
    console, values = Console(as_json), read_values(words)
    for key in without_use(kind, values):
        console.note(f"warning: {key}: {kind} has no use for it")
    text = render(kind, values)
    if not as_json:
        console.text(text.rstrip("\n"))
    console.result({"kind": kind, "text": text})
