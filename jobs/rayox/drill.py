"""`rayox drill`: a short run on the user's own cluster, with what it needs killed or taken away on the way."""

import secrets
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from rayox.drill_run import EVERY_STEPS, KILLS, OUTAGES, drill
from rayox.terminal.console import Console, json_option
from rayox_model.core.errors import ConfigError, RayoxError, TrainingError

if TYPE_CHECKING:
    from rayox.drill_run import Struck
    from rayox.submission.resolved import Resolved

FAULTS = (*OUTAGES, *KILLS)
OUTAGE_SECONDS = 15.0


@click.command("drill")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Dashboard of the cluster; by default that of RAY_ADDRESS or `cluster up`.",
)
@click.option("--faults", default=",".join(FAULTS), show_default=True, help="Which, in this order.")
@click.option(
    "--outage",
    type=click.FloatRange(min=1),
    default=OUTAGE_SECONDS,
    show_default=True,
    help="Seconds without the tracking server, and without the storage.",
)
@click.option("--yes", is_flag=True, help="Do not ask before a node is killed.")
@json_option
def command(
    recipe: str, overrides: tuple[str, ...], address: str | None, faults: str, outage: float, yes: bool, as_json: bool
) -> None:
    """Take tracking and storage away from a run by a RECIPE on a cluster, kill a worker, a node and the driver of it.

    Says what each cost. The run is real and short if its settings say so (train.epochs=3). Its storage has to be
    visible from here.
    """
    from rayox.submission.resolved import resolve
    from rayox_cluster.access import find_cluster, named_dashboard
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.storage.state import state_folder

    console, wanted = Console(as_json), tuple(word.strip() for word in faults.split(","))
    unknown = [word for word in wanted if word not in FAULTS]
    if unknown:
        raise ConfigError(
            f"--faults: {unknown[0]!r} is not one of {', '.join(FAULTS)}", "name them with commas between"
        )
    dashboard, record = find_cluster(named_dashboard(address), state_folder())
    name = f"drill-{secrets.token_hex(3)}"
    settings = [f"checkpoint.every_steps={EVERY_STEPS}", "train.max_failures=10"]
    resolved = resolve(("train", recipe, *settings, *overrides, "--name", name), record)
    wanted = _possible(wanted, resolved, explicit=faults != ",".join(FAULTS), console=console)
    if "node" in wanted and not yes:
        click.confirm("the drill kills the raylet of a node of this cluster; go on?", abort=True, err=True)
    if "tracking" in wanted:
        resolved = replace(resolved, task=replace(resolved.task, outage_seconds=outage))
    try:
        struck, status = drill(JobsApi(dashboard), resolved, wanted, outage, console)
    except (RayoxError, KeyboardInterrupt):
        console.note(f"the drill ends here, and its run may go on: `rayox runs stop {name}` ends that")
        raise
    _show(console, name, struck, status)


def _possible(wanted: tuple[str, ...], resolved: "Resolved", explicit: bool, console: Console) -> tuple[str, ...]:
    """What of it can be done to this run. Raises ConfigError for what was asked for by name and cannot."""
    from rayox_platform.storage.folders import is_remote

    cannot = {}
    if is_remote(resolved.storage):
        cannot["storage"] = f"{resolved.storage} is a bucket, which nobody can take away from here"
    if not resolved.tracking.startswith(("http://", "https://")):
        cannot["tracking"] = f"{resolved.tracking.partition('://')[0]} is not reached over HTTP"
    for fault in wanted:
        if fault in cannot and explicit:
            raise ConfigError(f"--faults: {fault}: {cannot[fault]}", "leave it out")
        if fault in cannot:
            console.note(f"not drilled: {fault}: {cannot[fault]}")
    return tuple(fault for fault in wanted if fault not in cannot)


def _show(console: Console, name: str, struck: "list[Struck]", status: str) -> None:
    columns = ("fault", "hit", "at step", "went on at", "steps lost", "seconds", "as promised")
    rows = [
        (
            one.fault,
            one.hit,
            one.at_step,
            one.resumed_at,
            one.steps_lost,
            round(one.seconds, 1),
            f"NO: {one.broken}" if one.broken else "yes",
        )
        for one in struck
    ]
    console.table(columns, rows)
    console.text(
        f"{name}: {status}; at most the {EVERY_STEPS} steps since a checkpoint may be lost, and none in an outage"
    )
    good = status == "succeeded" and not any(one.broken for one in struck)
    faults = [asdict(one) | {"as_promised": not one.broken} for one in struck]
    console.result({"ok": good, "run": name, "faults": faults, "status": status})
    if not good:
        raise click.exceptions.Exit(TrainingError.exit_code)
