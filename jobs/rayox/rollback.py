"""`rayox rollback`: an earlier champion is put back."""

import click

from rayox.config import load_recipe
from rayox.promotion_notice import Outcome, told_of_promotion
from rayox.terminal.console import Console, json_option


@click.command("rollback")
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--version", "version", type=click.IntRange(min=1), help="An earlier champion; by default the last one.")
@click.option("--reason", default="", help="Why; kept with it.")
@json_option
def command(name: str, overrides: tuple[str, ...], version: int | None, reason: str, as_json: bool) -> None:
    """Restore NAME's previous champion, as a new version with the same files.

    Nothing is measured: its files and signature have to be as they were when it was promoted.
    """
    from rayox_platform.promote.rollback import rollback
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    name = name.removeprefix("models:/")
    config = load_recipe(None, overrides).config
    with told_of_promotion(config, console, Outcome(name, f"models:/{name}", "rolled back", reason)) as outcome:
        done = rollback(name, version, reason, config, state_folder())
        outcome.model, outcome.predecessor = done.version.uri, done.predecessor
    console.text(
        f"champion    {done.version.uri}: the bytes of version {done.restores}, after version {done.predecessor}"
    )
    console.result({"model": done.version.uri, "restores": done.restores, "predecessor": done.predecessor})
