"""`rayox runs`: the runs of this state folder, whoever trains them: listed, shown, watched, and sent on to MLflow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.console import Console, json_option
from rayox.progress import duration
from rayox.run_jobs import cost_command, stop_command, wait_command
from rayox.training_panel import TrainingPanel
from rayox_model.core.errors import ConfigError

if TYPE_CHECKING:
    from rayox_platform.runs.event_kinds import RunEvent
    from rayox_platform.runs.home import RunHome
    from rayox_platform.runs.overview import Run
    from rayox_platform.runs.places import Runs

ENDED_WITHOUT_A_WORD = 8  # the run's driver is gone and has not said why: training has failed
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@click.group("runs")
def command() -> None:
    """List, show, watch and stop runs; send what MLflow does not have yet (storage=… names where they are kept)."""


for further in (stop_command, wait_command, cost_command):
    command.add_command(further)


@command.command("list")
@OVERRIDES
@json_option
def list_command(overrides: tuple[str, ...], as_json: bool) -> None:
    """All runs, the one that spoke last first."""
    from rayox_platform.runs.overview import list_runs

    console, now = Console(as_json), time.time()
    with opened(overrides) as place:
        runs = list_runs(place)
    if runs:
        rows = [
            (
                run.name,
                run.state,
                _of(run.step, run.num_steps),
                _of(run.epoch, run.epochs),
                run.metrics.get("AP"),
                _ago(run, now),
            )
            for run in runs
        ]
        console.table(("run", "state", "step", "epoch", "AP", "last event"), rows)
    else:
        console.text(f"no run in {place}; `rayox train` makes one")
    console.result({"runs": [asdict(run) for run in runs]})


@command.command("show")
@click.argument("name")
@OVERRIDES
@json_option
def show_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Where the run NAME stands."""
    from rayox_platform.runs.overview import find_run, read_run

    console = Console(as_json)
    with opened(overrides, name) as place:
        run = read_run(find_run(place, name))
    rows = [
        ("state", run.state + (f" ({run.holder})" if run.holder else "")),
        *([("reason", run.reason)] if run.reason else []),
        ("step", _of(run.step, run.num_steps)),
        ("epoch", _of(run.epoch, run.epochs)),
        ("metrics", "  ".join(f"{key} {value:.3f}" for key, value in run.metrics.items()) or "–"),
        ("restarts", str(run.restarts)),
        ("last event", _ago(run, time.time())),
        ("checkpoint", run.checkpoint or "–"),
        ("model", run.result.get("registered") or "–"),
        ("MLflow", _tracked(run)),
        ("folder", run.folder),
    ]
    console.text(run.name)
    for key, text in rows:
        console.text(f"  {key:11} {text}")
    console.result(asdict(run))


@command.command("logs")
@click.argument("name")
@OVERRIDES
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@json_option
def logs_command(name: str, overrides: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """The events of the run NAME as lines."""
    from rayox.run_jobs import show_job_log
    from rayox_platform.runs.overview import event_line, find_run

    console, count = Console(as_json), 0
    try:
        with opened(overrides, name) as place:
            home = find_run(place, name)
    except ConfigError:
        if not show_job_log(name, follow, console):
            raise
        return
    for event in _events(home, follow):
        console.text(event_line(event))
        count += 1
    console.result({"run": name, "events": count})


@command.command("watch")
@click.argument("name")
@OVERRIDES
@json_option
def watch_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """The live panel of the run NAME, which another process or a job trains, until that ends; then its exit code."""
    from rayox.run_jobs import watch_job
    from rayox_platform.runs.overview import find_run, read_run
    from rayox_platform.storage.errors import storage_errors

    console = Console(as_json)
    exit_code = watch_job(name, console)
    if exit_code is not None:
        raise click.exceptions.Exit(exit_code)
    with opened(overrides, name) as place:
        home = find_run(place, name)
        run = read_run(home)
    with TrainingPanel(name, run.num_steps or 0, run.epochs or 0, console) as panel:
        for event in _events(home, follow=True):
            panel.show(event)
    with storage_errors(str(home), "read"):
        run = read_run(home)
    why = f": {run.reason}" if run.reason else ""
    console.text(f"{name} is {run.state} at step {_of(run.step, run.num_steps)}{why}")
    console.result(asdict(run))
    if run.state != "finished":
        raise click.exceptions.Exit(run.exit_code or ENDED_WITHOUT_A_WORD)


@command.command("sync")
@click.argument("name")
@OVERRIDES
@json_option
def sync_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Send what MLflow does not have yet of the run NAME: after an outage, or after its driver was killed."""
    from rayox_platform.runs.overview import find_run
    from rayox_platform.track.sync import sync_run

    console, config = Console(as_json), load_recipe(None, overrides).config
    with opened(overrides, name) as place:
        home = find_run(place, name)
    tracking = config.tracking
    done = sync_run(home, tracking.flush_seconds, lambda: console.note(f"sending {name} to MLflow"), tracking.uri)
    console.text(f"{done.sent} entries of {name} are in MLflow now (run {done.run_id})")
    if done.registered:
        console.text(f"model       {done.registered}")
    if done.refused:
        console.note(f"MLflow has refused {len(done.refused)} entries; the first: {done.refused[0]}")
    console.result(asdict(done))


@contextmanager
def opened(overrides: tuple[str, ...], name: str | None = None) -> "Iterator[Runs]":
    """Where the runs are, of a submitted one where it was sent; a store that cannot be read is the setting's fault."""
    from rayox.job_register import submitted
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.errors import storage_errors

    loaded = load_recipe(None, overrides)
    job = submitted(name) if name and not loaded.given("storage") else None
    runs = open_runs(job.storage if job else loaded.config.storage)
    with storage_errors(str(runs), "read"):
        yield runs


def _events(home: "RunHome", follow: bool) -> "Iterator[RunEvent]":
    from rayox_platform.runs.events import follow as followed
    from rayox_platform.runs.overview import is_over
    from rayox_platform.storage.errors import storage_errors

    with storage_errors(str(home), "read"):
        if follow:
            yield from followed(home.events.tail(whole=True), lambda: is_over(home))
        else:
            yield from home.events.read()


def _tracked(run: "Run") -> str:
    if run.unsent is None:
        return "its driver's machine knows"
    return f"{run.unsent} entries unsent: `rayox runs sync {run.name}`" if run.unsent else "up to date"


def _of(done: int, of: int | None) -> str:
    return f"{done}/{of}" if of else str(done)


def _ago(run: "Run", now: float) -> str:
    return f"{duration(max(0.0, now - run.last))} ago"
