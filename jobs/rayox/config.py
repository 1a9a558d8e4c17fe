"""`rayox config`: every setting with where it comes from, the tree's JSON schema, and what a setting is for."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from rayox.terminal.console import Console, json_option
from rayox_platform.config import LoadedConfig, load_config
from rayox_platform.config.explain import as_json as shown_as_json
from rayox_platform.config.explain import explain, explain_json, show
from rayox_platform.config.settings import json_schema, settings

RECIPES = Path(__file__).parent / "recipes"


def load_recipe(recipe: str | None, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The settings of a recipe (packaged or a file; None: the defaults) under this process's environment.

    What was made of them that was not asked for is said. Raises ConfigError with everything that is wrong with them.
    """
    loaded = load_config(recipe, overrides, packaged=RECIPES, environ=os.environ)
    for note in loaded.notes:
        Console().note(note)
    return loaded


@click.group("config")
def command() -> None:
    """Show, check and explain settings."""


@command.command("show")
@click.argument("words", nargs=-1, metavar="[RECIPE] [KEY=VALUE]...")
@json_option
def show_command(words: tuple[str, ...], as_json: bool) -> None:
    """Check a recipe and print every setting with where it comes from.

    Without RECIPE, the defaults with the environment and the overrides over them.
    """
    with_recipe = bool(words) and "=" not in words[0]
    loaded = load_recipe(words[0], words[1:]) if with_recipe else load_recipe(None, words)
    console = Console(as_json)
    if not as_json:
        console.text(show(loaded))
    console.result(shown_as_json(loaded))


@command.command("schema")
@json_option
def schema_command(as_json: bool) -> None:
    """Print the JSON schema of a recipe, for editors; with --json on one line."""
    console = Console(as_json)
    if not as_json:
        console.text(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    console.result(json_schema())


@command.command("explain")
@click.argument("key", required=False)
@json_option
def explain_command(key: str | None, as_json: bool) -> None:
    """Say what a setting is for, what it takes and its default; without KEY, list all settings."""
    console = Console(as_json)
    if key is None:
        rows = [(name, setting.description) for name, setting in settings().items() if not setting.is_section]
        if not as_json:
            console.table(("setting", "is"), rows)
        console.result({"settings": [explain_json(name) for name, _ in rows]})
        return
    if not as_json:
        console.text(explain(key))
    console.result(explain_json(key))
