"""`rayox demo`: the main job on the embedded data set, from nothing to a drawn and recorded detector."""

import click

from rayox.config import load_recipe
from rayox.console import Console, json_option
from rayox.train import TrainResult, show_result, train

ALIAS = "champion"


@click.command("demo")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--address", envvar="RAYOX_ADDRESS", help="Ray cluster to run on; by default this machine.")
@click.option(
    "--cluster", "on_cluster", is_flag=True, help="As a job on a local cluster of three nodes, started for it."
)
@json_option
def command(overrides: tuple[str, ...], address: str | None, on_cluster: bool, as_json: bool) -> None:
    """Train on the embedded data set with two workers, evaluate, register it as champion, draw what it finds."""
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
    _crown(result, loaded.config.tracking.uri)
    show_result(console, result)
    console.note(f"next        rayox predict models:/{_name(result)}@{ALIAS} PHOTOS -o found; rayox models list")


def _crown(result: TrainResult, tracking_uri: str | None) -> None:
    from rayox_platform.storage.state import state_folder
    from rayox_platform.track.registry import find_version, set_alias
    from rayox_platform.track.tracking import connect

    store = connect(tracking_uri, state_folder(), experiment=None)
    set_alias(store, find_version(store, _name(result), result.registered.rpartition("/")[2]), ALIAS)


def _name(result: TrainResult) -> str:
    return result.registered.split("/")[1]
