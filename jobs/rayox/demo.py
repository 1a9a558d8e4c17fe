"""`rayox demo`: the main job on the embedded data set, from nothing to a drawn and recorded detector."""

import click

from rayox.config import load_recipe
from rayox.promote import promote
from rayox.terminal.console import Console, json_option
from rayox.train import TrainResult, show_result, train
from rayox_model.core.errors import GateError
from rayox_platform.config import LoadedConfig


@click.command("demo")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Ray cluster to run on; by default that of RAY_ADDRESS, else this machine.",
)
@click.option(
    "--cluster", "on_cluster", is_flag=True, help="As a job on a local cluster of three nodes, started for it."
)
@json_option
def command(overrides: tuple[str, ...], address: str | None, on_cluster: bool, as_json: bool) -> None:
    """Train on the embedded data set with two workers, evaluate, draw what it finds, and promote it to champion."""
    console = Console(as_json)
    if on_cluster:
        from rayox.demo_cluster import demo_on_cluster

        demo_on_cluster(overrides, console)
        return
    loaded = load_recipe("shapes", overrides)
    result = train(loaded, console, address=address)
    assert result is not None
    if not result.registered:  # MLflow has gone away in between; the result says what to do
        show_result(console, result)
        return
    crowned = _crown(loaded, console, result)
    show_result(console, result)
    if crowned:
        console.note(f"next        rayox predict models:/{_name(result)}@champion PHOTOS -o found; rayox models list")


def _crown(loaded: LoadedConfig, console: Console, result: TrainResult) -> bool:
    """Through the gate, as any model; a detector that does not beat the champion leaves the run as it is."""
    from rayox_platform.promote.gate_settings import read_gate
    from rayox_platform.promote.judge import Asked

    asked = Asked(result.registered, _name(result), read_gate(None), "rayox demo")
    try:
        promoted = promote(loaded, console, asked)
    except GateError as error:
        console.note(f"the champion of {_name(result)} stays: {error.message}")
        return False
    assert promoted.version is not None
    console.text(f"champion    {promoted.version.uri}")
    return True


def _name(result: TrainResult) -> str:
    return result.registered.split("/")[1]
