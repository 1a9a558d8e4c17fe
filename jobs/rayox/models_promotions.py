"""`rayox models history|verify|reconcile|diff`: who was champion, and whether the champion is what it was."""

from dataclasses import asdict

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console, json_option
from rayox_model.core.errors import ModelError
from rayox_platform.config.tree import Config

OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def champion_number(model: str, config: Config) -> str:
    """NAME@champion as the version that it is, once that is verified; any other MODEL as it stands."""
    if not model.endswith("@champion"):
        return model
    from rayox_platform.models.champion import champion_version
    from rayox_platform.storage.state import state_folder

    name = model.removeprefix("models:/").removesuffix("@champion")
    return champion_version(name, config.tracking.uri, state_folder(), config.promotion).uri


@click.command("history")
@click.argument("name")
@OVERRIDES
@json_option
def history_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Every promotion, rollback and refusal of NAME, the newest first: who, when, why."""
    from rayox_platform.promote.history import name_history
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    found = name_history(
        name.removeprefix("models:/"), load_recipe(None, overrides).config.tracking.uri, state_folder()
    )
    rows = [
        (one.version or "–", one.state, one.action, one.ap, one.time, one.actor, one.overrides, one.reason[:60])
        for one in found.entries
    ]
    console.table(("version", "state", "action", "AP", "time (UTC)", "by", "overruled", "reason"), rows)
    for problem in found.problems:
        console.note(f"wrong: {problem}; `rayox models verify {name}` looks closer")
    console.result({"history": [asdict(one) for one in found.entries], "problems": list(found.problems)})


@click.command("verify")
@click.argument("name")
@OVERRIDES
@json_option
def verify_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check files, signature and tags of every champion NAME has had, and the alias; exit code 4 if one is wrong."""
    from rayox_platform.promote.reconcile import verify
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    name = name.removeprefix("models:/")
    found = verify(name, load_recipe(None, overrides).config, state_folder())
    rows = [
        (number, "champion" if number == found.head else "was champion", wrong or "as it was signed")
        for number, wrong in sorted(found.versions.items(), reverse=True)
    ]
    console.table(("version", "state", "files, signature and tags"), rows)
    wrong = [*found.problems, *(text for number, text in found.versions.items() if text and number == found.head)]
    others = [text for number, text in found.versions.items() if text and number != found.head]
    for text in others:
        console.note(f"an earlier champion: {text}")
    if not found.good:
        good = [number for number, text in sorted(found.versions.items()) if not text]
        last = f"the last good one is models:/{name}/{good[-1]}; " if good else ""
        raise ModelError("\n".join(wrong), f"{last}`rayox models reconcile {name}` mends what can be mended")
    console.result({"name": name, "champion": found.head, "versions": {str(k): v for k, v in found.versions.items()}})


@click.command("reconcile")
@click.argument("name")
@OVERRIDES
@json_option
def reconcile_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Put the alias, tags and receipts of NAME right, and bring a deleted champion back."""
    from rayox_platform.promote.reconcile import reconcile
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    done = reconcile(name.removeprefix("models:/"), load_recipe(None, overrides).config, state_folder())
    for line in done or ["everything is as it was signed"]:
        console.text(line)
    console.result({"name": name, "done": done})


@click.command("diff")
@click.argument("first")
@click.argument("second")
@OVERRIDES
@json_option
def diff_command(first: str, second: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """What two registered models differ in: settings, data, code, metrics (NAME/VERSION, NAME@ALIAS or runs:/ID)."""
    from rayox_platform.promote.diff import diff
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    config = load_recipe(None, overrides).config
    ours, theirs = (champion_number(model, config) for model in (first, second))
    rows = diff(ours, theirs, config.tracking.uri, state_folder())
    console.table(("", first, second), rows)
    console.result({"differences": [{"what": a, "first": b, "second": c} for a, b, c in rows]})
