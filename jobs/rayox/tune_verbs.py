"""What is asked of campaigns while they run and after: listed, shown, stopped, reported, their winner written down."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from rayox.config import RECIPES, load_recipe
from rayox.terminal.console import Console, json_option
from rayox.terminal.ending import INTERRUPTED
from rayox_model.core.errors import ConfigError, DataError, TrainingError

if TYPE_CHECKING:
    from rayox_platform.tune.campaign_home import CampaignHome
    from rayox_platform.tune.campaign_state import State

EXIT_CODES = {"failed": TrainingError.exit_code, "dead": TrainingError.exit_code, "interrupted": INTERRUPTED}
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@click.command("list")
@OVERRIDES
@json_option
def list_command(overrides: tuple[str, ...], as_json: bool) -> None:
    """All campaigns (storage=… names another folder or a bucket)."""
    from rayox_platform.tune.campaign_home import campaign_names, find_campaign

    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    with _readable(storage):
        shown = [_listed(find_campaign(storage, name), console) for name in campaign_names(storage)]
    if shown:
        console.table(("campaign", "state", "trials", "epochs", "best trial", "metric", "value"), shown)
    else:
        console.text("no campaign here; `rayox tune CAMPAIGN` makes one")
    names = ("name", "state", "trials", "epochs", "best", "metric", "value")
    console.result({"campaigns": [dict(zip(names, row, strict=True)) for row in shown]})


@click.command("status")
@click.argument("name")
@OVERRIDES
@json_option
def status_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Where the campaign NAME stands, trial by trial."""
    from rayox_platform.tune.report import about, verdict
    from rayox_platform.tune.table import cells, columns, rows, summary

    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    home = _found(storage, name)
    with _readable(storage):
        state, status = _looked_at(home)
        holder = home.holder()
    metric = state.campaign.first_metric
    if state.search:
        lines = [cells(state, one) for one in rows(state, status)]
        console.table(("trial", "state", "epoch", metric, *columns(state), ""), lines)
    console.text(about(state, status, holder))
    console.text(verdict(state))
    console.result(summary(state, status))


@click.command("watch")
@click.argument("name")
@OVERRIDES
@json_option
def watch_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """The live panel of the campaign NAME, which another process drives, until that ends; then its exit code."""
    from rayox.terminal.campaign_watch import watch_campaign
    from rayox_platform.runs.overview import is_over
    from rayox_platform.tune.report import verdict
    from rayox_platform.tune.table import summary

    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    home = _found(storage, name)
    with _readable(storage):
        state = watch_campaign(home, console, lambda: is_over(home))
    status = state.ended.status if state.ended else "dead"
    console.text(f"{status}; {verdict(state)}")
    console.result(summary(state, status))
    if status in EXIT_CODES:
        raise click.exceptions.Exit(EXIT_CODES[status])


@click.command("stop")
@click.argument("name")
@OVERRIDES
@json_option
def stop_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Let no more trials of the campaign NAME begin: its driver ends when those that run have come to their rung."""
    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    home = _found(storage, name)
    with _readable(storage):
        holder = home.holder()
        if holder:
            home.ask_to_stop()
    said = f"asked {holder} to end; --resume goes on" if holder else f"nobody drives {name}"
    console.text(said)
    console.result({"name": name, "stopped": bool(holder)})


@click.command("report")
@click.argument("name")
@OVERRIDES
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder; by default NAME-report."
)
@click.option("--optuna", metavar="URL", help="Write a study for optuna-dashboard too: sqlite:///FILE.")
@click.option("--force", is_flag=True, help="Replace a study of that name that is not of this campaign.")
@json_option
def report_command(
    name: str, overrides: tuple[str, ...], output: Path | None, optuna: str | None, force: bool, as_json: bool
) -> None:
    """Write what the campaign NAME has found as one HTML file and as pictures; also while it runs."""
    from rayox_platform.tune.report import verdict, write_report

    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    home = _found(storage, name)
    with _readable(storage):
        state, status = _looked_at(home)
        holder = home.holder()
    folder = output or Path(f"{name}-report")
    try:
        paths = write_report(state, folder, status, holder)
    except OSError as error:
        raise ConfigError(f"-o: {folder} cannot be written ({error.strerror})", "name another folder") from error
    if optuna:
        from rayox_platform.tune.optuna_export import export_study

        console.note(f"{export_study(state, optuna, force)} trials in the study {name} of {optuna}")
    console.text(f"report      {paths[0]}")
    console.text(verdict(state))
    console.result({"report": str(paths[0]), "pictures": [str(path) for path in paths[1:]]})


@click.command("apply")
@click.argument("name")
@OVERRIDES
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Recipe to write.")
@click.option("--trial", type=int, metavar="N", help="This trial, confirmed or not.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
def apply_command(
    name: str, overrides: tuple[str, ...], output: Path, trial: int | None, force: bool, as_json: bool
) -> None:
    """Write the confirmed winner of the campaign NAME as a recipe, with its evidence in the header."""
    from rayox_platform.tune.winner import (
        as_recipe,
        base_name,
        own_settings,
        recipe_files,
        winning_trial,
        write_recipe,
    )

    console, storage = Console(as_json), load_recipe(None, overrides).config.storage
    with _readable(storage):
        state, _ = _looked_at(_found(storage, name))
    chosen, recipe = winning_trial(state, trial), state.campaign.recipe
    plain = load_recipe(recipe).config
    text = as_recipe(state, chosen, base_name(recipe, output.parent, RECIPES), own_settings(state, chosen, plain))
    keep = recipe_files(recipe, RECIPES)
    write_recipe(text, output, _check, keep, force)
    console.text(
        f"wrote {output}: trial {chosen.number} of {name}; train with it by `rayox train {quote(str(output))}`"
    )
    console.result({"recipe": str(output), "trial": chosen.number, "values": dict(chosen.values)})


VERBS = (list_command, status_command, watch_command, stop_command, report_command, apply_command)


def _found(storage: str | None, name: str) -> "CampaignHome":
    from rayox_platform.tune.campaign_home import find_campaign

    return find_campaign(storage, name)


def _looked_at(home: "CampaignHome") -> "tuple[State, str]":
    """A campaign's state, and what it is doing: a driver that is gone and has not said why is dead."""
    from rayox_platform.tune.ledger import read_state

    holder = home.holder()  # before its last record is read: one that leaves meanwhile has said why
    state = read_state(home.journal())
    if holder:
        return state, "running"
    if not state.num_records:
        raise DataError(f"{home}: its ledger has no whole record", "give the command that began it once more")
    return state, state.ended.status if state.ended else "dead"


def _listed(home: "CampaignHome", console: Console) -> tuple[object, ...]:
    """A campaign's line; one that cannot be read does not hide the others."""
    from pydantic import ValidationError

    try:
        state, status = _looked_at(home)
    except DataError as error:
        console.note(f"{home.name}: {error.message}; {error.hint}")
        return home.name, f"damaged: {error.message.rpartition(': ')[2]}", None, None, None, "", None
    except ValidationError as error:
        console.note(f"{home.name}: its ledger does not fit this version: {' '.join(str(error).split())[:200]}")
        return home.name, "damaged: does not fit this version", None, None, None, "", None
    return home.name, status, len(state.search), state.epochs_trained, *_best(state)


def _best(state: "State") -> tuple[int | None, str, float | None]:
    best, metric = state.best, state.campaign.first_metric
    return (best.number, metric, state.sign * state.score(best)) if best else (None, metric, None)


def _check(recipe: Path) -> None:
    load_recipe(str(recipe))


@contextmanager
def _readable(storage: str | None) -> Iterator[None]:
    from rayox_platform.storage.errors import storage_errors

    with storage_errors(str(storage or "the state folder"), "read"):
        yield
