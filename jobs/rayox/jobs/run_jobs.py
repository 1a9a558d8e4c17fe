"""`rayox runs stop|wait`: runs whoever trains them, a process of this machine or a submitted job."""

import os
import platform
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from rayox.jobs.job_campaign import campaign_of_job
from rayox.jobs.job_end import (
    Ending,
    JobWatch,
    ending_of,
    exit_code_of_state,
    failed_before,
    not_ended,
    until_over,
)
from rayox.jobs.run_places import OVERRIDES, asked_for, found_home, home_of_job, run_of_job
from rayox.jobs.submitted_jobs import UNKNOWN, api_of, ended_job, note_if_over
from rayox.submission.job_driver import STOP_SECONDS
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import duration
from rayox_model.core.errors import ClusterError

if TYPE_CHECKING:
    from rayox.jobs.job_register import Submitted
    from rayox_platform.runs.home import RunHome
    from rayox_platform.runs.overview import Run, State

POLL_SECONDS = 1.0
START_SECONDS = 900.0  # after which Ray gives up a job that has not begun
HERE = re.compile(r"process (\d+) on (.+)")


@click.command("stop")
@click.argument("name")
@OVERRIDES
@json_option
def stop_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Stop the run or job NAME and wait until it is over; a run saves a checkpoint first."""
    from rayox_platform.runs.overview import read_run

    console, job = asked_for(name, overrides, as_json)
    if job is None:
        home = found_home(name, overrides)
        _stop_process(home, console)
        with suppress(OSError):
            _show_stopped(read_run(home), console, {})
        return
    ending = _stop_job(job, console)
    of_job = {"submission_id": job.submission_id, "address": job.address}
    run = run_of_job(job)
    if run is not None:
        _show_stopped(replace(run, state=state_of_over(run, ending)), console, of_job)
        return
    campaign = campaign_of_job(job) if job.verb == "tune" else None
    console.text(f"{name}: job {job.submission_id} is over: {ending.state}")
    if campaign is not None:
        console.text(f"campaign {campaign}; `{campaign.command}` shows it")
    told = {"campaign": campaign.name, "campaign_state": campaign.status} if campaign else {}
    console.result({"run": name, "state": ending.state} | of_job | told)


@click.command("wait")
@click.argument("name")
@OVERRIDES
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.")
@json_option
def wait_command(name: str, overrides: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until the run or job NAME ends.

    The exit code says how: 0 finished, 8 failed or dead, 130 stopped; of a job that trains nothing it is the verb's.
    """
    from rayox_platform.runs.overview import read_run

    console, job = asked_for(name, overrides, as_json)
    run: Run | None
    if job is None:
        home = found_home(name, overrides)
        _wait_for_process(home, timeout)
        run, ending = read_run(home), None
    else:
        ending = until_over(JobWatch(job, console), console, timeout)
        run = run_of_job(job)
    result: dict[str, Any] = {"submission_id": job.submission_id, "address": job.address} if job else {}
    if run is not None:
        state = run.state if ending is None else state_of_over(run, ending)
        ending = Ending(state, exit_code_of_state(state))
        console.text(f"{name} is {state} at step {run.step}")
        result |= {"run": name, "state": state, "step": run.step, "metrics": run.metrics}
    else:
        assert job is not None
        assert ending is not None
        console.text(f"{name}: job {job.submission_id} is over: {ending.state}")
        result |= {"run": name, "state": ending.state}
    console.result(result)
    if ending.exit_code:
        raise click.exceptions.Exit(ending.exit_code)


def state_of_over(run: "Run", ending: Ending) -> "State":
    """How a run stands whose job is over; one that has said nothing since its job began stands as that ended."""
    if run.state == "running":  # a claim in a bucket outlives its driver
        return "dead"
    return "failed" if failed_before(run, ending) else run.state


def watch_job(job: "Submitted", console: Console) -> int | None:
    """Follow a submitted job to its end, also one that has not begun; its exit code.

    None when it is over or its cluster away, and its run is seen from here and tells the rest.
    """
    from rayox.jobs.following import follow_job
    from rayox_cluster.jobs_api import UnreachableError

    api = api_of(job.address)
    try:
        found = api.find(job.submission_id)
    except UnreachableError as error:
        found = None
        console.note(error.message)
    if found is not None and not found.is_over:
        ending = ending_of(follow_job(api, job.run, job.submission_id, job.storage, console))
    elif (run := run_of_job(job)) is not None and not (found and failed_before(run, ending_of(found))):
        return None
    else:
        ending = until_over(JobWatch(job, console), console)
    console.text(f"{job.run}: job {job.submission_id} is over: {ending.state}")
    console.result({"run": job.run, "submission_id": job.submission_id, "status": ending.state})
    return ending.exit_code


def show_job_log(job: "Submitted", follow: bool, console: Console) -> None:
    """The log of a submitted job whose run cannot be seen from here; followed to its end also without its cluster."""
    from rayox.jobs.following import log_lines

    api = api_of(job.address)
    if api.find(job.submission_id) is None:
        raise ClusterError(
            f"{job.run}: the cluster at {job.address} does not know this job any more, and its log went with it",
            f"`rayox runs show {job.run}` says what is known of it",
        )
    text, watch = api.logs(job.submission_id), JobWatch(job, console, api)
    lines = log_lines(api, job.submission_id, lambda: watch.look() is not None) if follow else text.splitlines()
    for line in lines:
        console.text(line)
    console.result({"run": job.run, "submission_id": job.submission_id})


def worked_on(home: "RunHome", job: "Submitted | None", console: Console) -> Callable[[], bool]:
    """Whether somebody trains a run or may begin to: its job has ended, or nobody can be asked of that."""
    from rayox_platform.runs.overview import is_over, read_result

    watch = JobWatch(job, console) if job else None

    def look() -> bool:
        if not is_over(home):
            return True
        if watch is None:
            return False
        with suppress(OSError, ClusterError):
            return not read_result(home) and watch.look() is None
        return False

    return look


def _show_stopped(run: "Run", console: Console, of_job: dict[str, Any]) -> None:
    console.text(f"{run.name} is {run.state} at step {run.step}; checkpoint {run.checkpoint or '–'}")
    told = {"run": run.name, "state": run.state, "step": run.step, "checkpoint": run.checkpoint}
    console.result(told | of_job)


def _stop_job(submitted: "Submitted", console: Console) -> Ending:
    """How it is over. Raises ClusterError when its cluster is away."""
    from rayox_cluster.jobs_api import UnreachableError

    api, watch = api_of(submitted.address), JobWatch(submitted, console)
    try:
        job = ended_job(submitted) if submitted.status else api.find(submitted.submission_id)
        if job is not None and job.is_over:
            console.note(f"{submitted.submission_id} is over already")
            note_if_over(submitted, job)
            return ending_of(job)
        if job is None:
            _require_nobody(submitted)
            console.note("the cluster does not know this job")
            return Ending(UNKNOWN, 0)
        api.stop(submitted.submission_id)
    except UnreachableError as error:
        raise ClusterError(
            f"{error.message}; a job whose head is gone ends with it: `rayox runs show {submitted.run}` says where",
            "submit the same again to the next cluster: a run goes on from its newest checkpoint",
        ) from error
    first = ": it saves a checkpoint first" if submitted.verb in ("train", "tune") else ""
    if job.status == "PENDING":  # Ray hands the stop to its driver, which has to have a place first
        first = f": it has not begun, and ends once its driver has a place, or {START_SECONDS / 60:.0f} minutes after "
        first += "it was submitted"
    console.note(f"stopping {submitted.submission_id}{first}")
    return until_over(watch, console, STOP_SECONDS + START_SECONDS, doing="still stopping")


def _require_nobody(submitted: "Submitted") -> None:
    """Raises ClusterError while somebody works on the run or campaign of a job that its cluster does not know."""
    campaign = campaign_of_job(submitted) if submitted.verb == "tune" else None
    home = campaign.home if campaign else home_of_job(submitted)
    with suppress(OSError):
        held = home.holder() if home is not None else None
        if held:
            raise ClusterError(
                f"{submitted.run}: the cluster at {submitted.address} does not know its job, and {held} works on it",
                "stop it there; if that machine is gone, it is free in some minutes: `rayox runs show` says so",
            )


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


def _wait_for_process(home: "RunHome", timeout: float | None) -> None:
    from rayox_platform.runs.overview import is_over

    deadline = None if timeout is None else time.monotonic() + timeout
    while not is_over(home):
        if deadline is not None and time.monotonic() > deadline:
            raise not_ended(home.name, timeout or 0.0)
        time.sleep(POLL_SECONDS)


def _until(is_done: Callable[[], bool], console: Console) -> None:
    began = said = time.monotonic()
    while not is_done():
        time.sleep(POLL_SECONDS)
        if time.monotonic() - said > 30:
            said = time.monotonic()
            console.note(f"still stopping after {duration(said - began)}")
