"""`rayox demo`: the main job on the embedded data set, from nothing to a drawn and recorded detector."""

import click

from rayox.config import load_recipe
from rayox.console import Console, json_option
from rayox.train import show_result, train


@click.command("demo")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--address", envvar="RAYOX_ADDRESS", help="Ray cluster to run on; by default this machine.")
@json_option
def command(overrides: tuple[str, ...], address: str | None, as_json: bool) -> None:
    """Train on the embedded data set with two workers, evaluate, and draw what was found; in minutes."""
    console = Console(as_json)
    result = train(load_recipe("shapes", overrides), console, address=address)
    assert result is not None
    show_result(console, result)
