"""`rayox models`: what is registered, with its metrics, aliases and origin."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.models_promotions import champion_number, diff_command, history_command, reconcile_command, verify_command
from rayox.terminal.console import Console, json_option

if TYPE_CHECKING:
    from rayox_platform.track.registry import Version


@click.group("models")
def command() -> None:
    """List, show and compare registered models; look at champions and put them right."""


for promotion_command in (history_command, verify_command, reconcile_command, diff_command):
    command.add_command(promotion_command)


@command.command("list")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@json_option
def list_command(overrides: tuple[str, ...], as_json: bool) -> None:
    """All versions of all registered models, the latest of each first (tracking.uri names another registry)."""
    from rayox_platform.track.registry import all_versions

    console = Console(as_json)
    found = all_versions(load_recipe(None, overrides).config.tracking.uri)
    if not found:
        console.text("no model is registered; `rayox train` registers the detector of every finished run")
    else:
        rows = [
            (one.name, one.version, _aliases(one), *_scores(one), _date(one.created), one.tags.get("run", "–"))
            for one in found
        ]
        console.table(("model", "version", "aliases", "AP", "AP50", "registered", "run"), rows)
    console.result({"models": [_as_json(one) for one in found]})


@command.command("show")
@click.argument("model")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@json_option
def show_command(model: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show MODEL: NAME, NAME@ALIAS or NAME/VERSION, with or without models:/ before it; NAME is its latest."""
    from rayox_platform.track.registry import describe

    console = Console(as_json)
    config = load_recipe(None, overrides).config
    one, details = describe(champion_number(model, config).removeprefix("models:/"), config.tracking.uri)
    console.text(f"{one.uri}  {_aliases(one)}")
    rows = [("registered", _date(one.created)), ("run", f"{one.tags.get('run', '–')} (MLflow run {one.run_id})")]
    rows += [(name, text) for name, text in details.items()]
    for name, text in rows:
        console.text(f"  {name:12} {text}")
    console.result(_as_json(one) | {"details": details})


def _as_json(one: "Version") -> dict[str, object]:
    return asdict(one) | {"uri": one.uri}


def _aliases(one: "Version") -> str:
    return " ".join(f"@{alias}" for alias in one.aliases) or "–"


def _scores(one: "Version") -> tuple[str, str]:
    return one.tags.get("AP", "–"), one.tags.get("AP50", "–")


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
