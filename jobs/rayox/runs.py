"""`rayox runs`: runs and submitted jobs, listed, shown, watched and stopped; what MLflow lacks of runs is sent on."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.jobs.run_cost import cost_command
from rayox.jobs.run_jobs import stop_command, wait_command
from rayox.jobs.run_places import OVERRIDES, asked_for, found_home, home_of_job
from rayox.jobs.runs_show import list_command, show_command
from rayox.terminal.console import Console, json_option
from rayox.terminal.training_panel import TrainingPanel

if TYPE_CHECKING:
    from rayox_platform.runs.event_kinds import RunEvent
    from rayox_platform.runs.home import RunHome

ENDED_WITHOUT_A_WORD = 8  # the run's driver is gone and has not said why: training has failed


@click.group("runs")
def command() -> None:
    """List, show, watch and stop runs and submitted jobs; send what MLflow does not have yet.

    storage=… names where runs are kept.
    """


for further in (list_command, show_command, stop_command, wait_command, cost_command):
    command.add_command(further)


@command.command("logs")
@click.argument("name")
@OVERRIDES
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@json_option
def logs_command(name: str, overrides: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """The events of the run NAME as lines; of a job without a run its log."""
    from rayox.jobs.run_jobs import show_job_log, worked_on
    from rayox_platform.runs.overview import event_line

    (console, job), count = asked_for(name, overrides, as_json), 0
    home = home_of_job(job) if job else found_home(name, overrides)
    if home is None:
        assert job is not None
        show_job_log(job, follow, console)
        return
    for event in _events(home, worked_on(home, job, console) if follow else None):
        console.text(event_line(event))
        count += 1
    console.result({"run": name, "events": count})


@command.command("watch")
@click.argument("name")
@OVERRIDES
@json_option
def watch_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """The live panel of the run NAME, which another process or a job trains, until that ends; then its exit code."""
    from rayox.jobs.run_jobs import watch_job, worked_on
    from rayox_platform.runs.overview import read_run
    from rayox_platform.storage.errors import storage_errors

    console, job = asked_for(name, overrides, as_json)
    exit_code = watch_job(job, console) if job else None
    if exit_code is not None:
        raise click.exceptions.Exit(exit_code)
    home = found_home(name, overrides)
    with storage_errors(str(home), "read"):
        run = read_run(home)
    with TrainingPanel(name, run.num_steps or 0, run.epochs or 0, console) as panel:
        for event in _events(home, worked_on(home, None, console)):
            panel.show(event)
    with storage_errors(str(home), "read"):
        run = read_run(home)
    why = f": {run.reason}" if run.reason else ""
    at = f"{run.step}/{run.num_steps}" if run.num_steps else str(run.step)
    console.text(f"{name} is {run.state} at step {at}{why}")
    console.result(asdict(run))
    if run.state != "finished":
        raise click.exceptions.Exit(run.exit_code or ENDED_WITHOUT_A_WORD)


@command.command("sync")
@click.argument("name")
@OVERRIDES
@json_option
def sync_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Send what MLflow does not have yet of the run NAME: after an outage, or after its driver was killed."""
    from rayox_platform.track.sync import sync_run

    console, config = Console(as_json), load_recipe(None, overrides).config
    home = found_home(name, overrides)
    tracking = config.tracking
    done = sync_run(home, tracking.flush_seconds, lambda: console.note(f"sending {name} to MLflow"), tracking.uri)
    console.text(f"{done.sent} entries of {name} are in MLflow now (run {done.run_id})")
    if done.registered:
        console.text(f"model       {done.registered}")
    if done.refused:
        console.note(f"MLflow has refused {len(done.refused)} entries; the first: {done.refused[0]}")
    console.result(asdict(done))


def _events(home: "RunHome", goes_on: Callable[[], bool] | None) -> "Iterator[RunEvent]":
    """Those there are, and those that come while it goes on."""
    from rayox_platform.runs.events import follow
    from rayox_platform.storage.errors import storage_errors

    with storage_errors(str(home), "read"):
        if goes_on is None:
            yield from home.events.read()
        else:
            yield from follow(home.events.tail(whole=True), lambda: not goes_on())
