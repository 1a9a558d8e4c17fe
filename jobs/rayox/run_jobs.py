"""`rayox runs stop|wait|cost`: runs whoever trains them, a process of this machine or a submitted job."""

import os
import platform
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from rayox.console import Console, json_option
from rayox.progress import duration
from rayox_model.core.errors import ClusterError, RayoxError, TrainingError
from rayox_platform.runs.event_kinds import RunEvent, Stage, Start

if TYPE_CHECKING:
    from rayox.job_register import Submitted
    from rayox_cluster.jobs_api import Job
    from rayox_platform.runs.home import RunHome

OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
POLL_SECONDS = 1.0
HERE = re.compile(r"process (\d+) on (.+)")
INTERRUPTED = 130


@click.command("stop")
@click.argument("name")
@OVERRIDES
@json_option
def stop_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Stop the run NAME and wait until it has saved a checkpoint and said so."""
    from rayox.job_register import submitted

    console, job = Console(as_json), submitted(name)
    if job is not None:
        _stop_job(job, console)
    else:
        _stop_process(_home(name, overrides), console)
    home = _home(name, overrides)
    from rayox_platform.runs.overview import read_run

    with suppress(OSError):
        run = read_run(home)
        console.text(f"{name} is {run.state} at step {run.step}; checkpoint {run.checkpoint or '–'}")
        console.result({"run": name, "state": run.state, "step": run.step, "checkpoint": run.checkpoint})


@click.command("wait")
@click.argument("name")
@OVERRIDES
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.")
@json_option
def wait_command(name: str, overrides: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until the run NAME ends; the exit code says how: 0 finished, 8 failed or dead, 130 stopped."""
    from rayox.job_register import submitted
    from rayox_platform.runs.overview import is_over, read_run

    console, job = Console(as_json), submitted(name)
    over = _job_is_over(job) if job is not None else partial(is_over, _home(name, overrides))
    deadline = None if timeout is None else time.monotonic() + timeout
    while not over():
        if deadline is not None and time.monotonic() > deadline:
            raise ClusterError(f"{name} has not ended after {timeout:g} s", "wait longer, or `rayox runs watch` it")
        time.sleep(POLL_SECONDS)
    run = read_run(_home(name, overrides))
    console.text(f"{name} is {run.state} at step {run.step}")
    console.result({"run": name, "state": run.state, "step": run.step, "metrics": run.metrics})
    if run.state == "interrupted":
        raise click.exceptions.Exit(INTERRUPTED)
    if run.state != "finished":
        raise click.exceptions.Exit(TrainingError.exit_code)


@click.command("cost")
@click.argument("name")
@OVERRIDES
@click.option("--per-hour", type=click.FloatRange(min=0), help="Price of one worker's machine share for an hour.")
@json_option
def cost_command(name: str, overrides: tuple[str, ...], per_hour: float | None, as_json: bool) -> None:
    """Say how long the workers of the run NAME have been in use, restarts included, and what that costs."""
    console, home = Console(as_json), _home(name, overrides)
    hours = worker_hours(home.events.read())
    console.text(f"{name}: {hours:.3f} worker hours")
    result: dict[str, object] = {"run": name, "worker_hours": round(hours, 4)}
    if per_hour is not None:
        console.text(f"at {per_hour:g} an hour: {hours * per_hour:.2f}")
        result["cost"] = round(hours * per_hour, 4)
    console.result(result)


def watch_job(name: str, console: Console) -> int | None:
    """Follow a submitted job to its end, also one that has not begun; its exit code.

    None when it is none or is over already.
    """
    from rayox.following import exit_code_of, follow_job
    from rayox.job_register import submitted
    from rayox_cluster.jobs_api import JobsApi, UnreachableError

    job = submitted(name)
    if job is None:
        return None
    api = JobsApi(_dashboard(job))
    try:
        found = api.find(job.submission_id)
    except UnreachableError:
        return None  # what is left of it is in its storage
    if found is None or found.is_over:
        return None
    ended = follow_job(api, name, job.submission_id, job.storage, console)
    console.text(f"{name}: job {job.submission_id} is over: {ended.status.lower()}")
    console.result({"run": name, "submission_id": job.submission_id, "status": ended.status.lower()})
    return exit_code_of(ended)


def show_job_log(name: str, follow: bool, console: Console) -> bool:
    """The log of a submitted job whose run cannot be seen from here; False when nothing was submitted by that name."""
    from rayox.following import Watched, log_lines
    from rayox.job_register import submitted
    from rayox_cluster.jobs_api import JobsApi

    job = submitted(name)
    if job is None:
        return False
    api = JobsApi(_dashboard(job))
    lines = log_lines(api, job.submission_id, Watched(api, job.submission_id, console)) if follow else iter(())
    for line in lines if follow else api.logs(job.submission_id).splitlines():
        console.text(line)
    console.result({"run": name, "submission_id": job.submission_id})
    return True


def worker_hours(events: list[RunEvent]) -> float:
    """From each start of training to the last word before the next one, times its workers."""
    total, workers, began, last = 0.0, 0, 0.0, 0.0
    for event in events:
        if isinstance(event, Stage):  # its driver's, which may come long after its workers have gone
            continue
        if isinstance(event, Start):
            total += workers * (last - began)
            workers, began = event.workers, event.time if event.began is None else event.began
        last = event.time
    return (total + workers * (last - began)) / 3600


def _stop_job(submitted: "Submitted", console: Console) -> None:
    from rayox_cluster.jobs_api import JobsApi, UnreachableError

    api = JobsApi(_dashboard(submitted))
    try:
        job = api.find(submitted.submission_id)
        if job is None or job.is_over:
            console.note(f"{submitted.submission_id} is over already" if job else "the cluster does not know this job")
            return
        api.stop(submitted.submission_id)
    except UnreachableError as error:
        raise ClusterError(
            f"{error.message}; a run whose head is gone ends with it: `rayox runs show {submitted.run}` says where",
            "submit the same again to the next cluster: it goes on from the newest checkpoint",
        ) from error
    console.note(f"stopping {submitted.submission_id}: it saves a checkpoint first")
    _until(_job_is_over(submitted), console)


def _stop_process(home: "RunHome", console: Console) -> None:
    """SIGTERM to the process that trains a run of this machine. Raises ClusterError when it is on another one."""
    held = home.holder()
    if held is None:
        console.note(f"nobody trains {home.name} now")
        return
    found = HERE.fullmatch(held)
    if found is None or found[2] != platform.node():
        raise ClusterError(
            f"{home.name} is trained by {held}, which this machine cannot stop",
            "stop it there, or with `rayox runs stop` where it was submitted",
        )
    console.note(f"stopping {held}: it saves a checkpoint first")
    os.kill(int(found[1]), signal.SIGTERM)
    _until(lambda: home.holder() is None, console)


def _job_is_over(submitted: "Submitted") -> Callable[[], bool]:
    from rayox_cluster.jobs_api import JobsApi, UnreachableError

    api = JobsApi(_dashboard(submitted))

    def is_over() -> bool:
        try:
            job: Job | None = api.find(submitted.submission_id)
        except UnreachableError:
            return False
        return job is None or job.is_over

    return is_over


def _dashboard(submitted: "Submitted") -> str:
    """Its address, with this process let in where the token is known."""
    from rayox_cluster.access import find_cluster
    from rayox_platform.storage.state import state_folder

    with suppress(RayoxError):
        return find_cluster(submitted.address, state_folder())[0]
    return submitted.address


def _until(is_done: Callable[[], bool], console: Console) -> None:
    began = said = time.monotonic()
    while not is_done():
        time.sleep(POLL_SECONDS)
        if time.monotonic() - said > 30:
            said = time.monotonic()
            console.note(f"still stopping after {duration(said - began)}")


def _home(name: str, overrides: tuple[str, ...]) -> "RunHome":
    from rayox.runs import opened
    from rayox_platform.runs.overview import find_run

    with opened(overrides, name) as place:
        return find_run(place, name)
