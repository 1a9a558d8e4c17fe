"""`rayox submit`: any verb as a job of a Ray cluster, over its Jobs API, from a machine that reaches no node of it."""

import shlex
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from rayox.terminal.console import Console, json_option

if TYPE_CHECKING:
    from rayox.submission.resolved import Resolved
    from rayox_cluster.jobs_api import Job, JobRequest, JobsApi
    from rayox_cluster.preflight import Question

DRIVER_CPUS = 0.0  # a driver waits for its workers; Ray's own default
LAST_LINES = 10
POLL_SECONDS = 0.5
RUN = "rayox_run"  # in a job's metadata
CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("submit", context_settings=CONTEXT)
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Dashboard of the cluster, http://HEAD:8265; else that of RAY_ADDRESS or `rayox cluster up`.",
)
@click.option("--follow", "-f", is_flag=True, help="Show the run until it ends; Ctrl-C leaves it running.")
@click.option("--again", is_flag=True, help="Train or tune once more what has finished: from its beginning, as NAME-2.")
@json_option
@click.argument("words", nargs=-1, metavar="-- VERB [ARGUMENTS]...")
def command(address: str | None, follow: bool, again: bool, as_json: bool, words: tuple[str, ...]) -> None:
    """Run a verb as a job on a Ray cluster.

    Sends rayox itself and the resolved settings, nothing else: data lie where all nodes read them, and credentials are
    the nodes' own. Submitting the same again finds the job that runs; a training or campaign that has finished is found
    too (--again starts it anew), and one that failed is resumed. Other verbs run again once they have ended.
    """
    from rayox.jobs.following import exit_code_of, follow_job
    from rayox.submission.resolved import resolve
    from rayox_cluster.access import find_cluster, named_dashboard
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    dashboard, record = find_cluster(named_dashboard(address), state_folder())
    resolved = resolve(words, record)
    api = JobsApi(dashboard)
    job = submit(api, resolved, console, again)
    run = job.metadata.get(RUN, resolved.name)
    if follow:
        job = follow_job(api, run, job.submission_id, resolved.storage, console)
    if follow and job.status == "FAILED":
        _show_last_words(api, job, console)
    console.text(f"{run}: job {job.submission_id} {said(job.status)}")
    if not job.is_over:
        console.text(f"next       rayox runs watch {run}; rayox runs stop {run}")
    console.result(
        {
            "run": run,
            "submission_id": job.submission_id,
            "status": job.status.lower(),
            "address": dashboard,
            "storage": resolved.storage,
            "tracking": resolved.tracking,
        }
    )
    if follow and exit_code_of(job):
        raise click.exceptions.Exit(exit_code_of(job))


def _show_last_words(api: "JobsApi", job: "Job", console: Console) -> None:
    """What the verb said at its end, which is its error with what to do."""
    from rayox_model.core.errors import ClusterError

    try:
        lines = api.logs(job.submission_id).strip().splitlines()
    except ClusterError:
        lines = job.message.strip().splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith("error:")]
    for line in lines[begins[-1] if begins else -LAST_LINES :]:
        console.note(line)


def submit(api: "JobsApi", resolved: "Resolved", console: Console, again: bool = False) -> "Job":
    """The job that does this work: one that is there already, or a new one. Raises what stands against it.

    again is whether a training or a campaign that has finished is begun anew, under a name with a number behind it.
    """
    from rayox.jobs.job_register import remember
    from rayox.jobs.unfinished import first_unfinished

    require_ray(api)
    before = attempts(api.jobs(), resolved.submission_id)
    last = before[-1] if before else None
    now = resolved.as_it_ran(last.metadata.get(RUN, "")) if last else first_unfinished(resolved, again)
    remember(now.name, api.url, last.submission_id if last else "", now.storage)
    if last is not None and is_found(last, resolved.is_lasting, again):
        console.note(_found(last))
        return last
    number = attempt_number(last, resolved.submission_id) + 1 if last else 1
    goes_on = last is not None and resolved.is_lasting and last.status != "SUCCEEDED"
    if last is not None and goes_on:
        console.note(f"{last.submission_id} {said(last.status)} {_ago(last.end_time)}: going on with it")
    elif last is not None and resolved.is_lasting:
        now = resolved.anew(number)
        console.note(f"{last.submission_id} {said(last.status)} {_ago(last.end_time)}: starting anew as {now.name}")
    submission_id = f"{resolved.submission_id}-{number}" if last else resolved.submission_id
    there = _send(api, now, submission_id, goes_on, console)
    remember(now.name, api.url, submission_id, now.storage)
    if there is not None:
        console.note(_found(there))
        return there
    try:
        return wait_for_start(api, submission_id, console, now.recipe)
    except KeyboardInterrupt:
        from rayox.jobs.following import ways_back

        console.note(f"left; {submission_id} was handed over and goes on. {ways_back(now.name)}")
        raise


def is_found(last: "Job", is_lasting: bool, again: bool) -> bool:
    """Whether the last job of some work stands for it: one that is not over, or what has finished and lasts."""
    return not last.is_over or (last.status == "SUCCEEDED" and is_lasting and not again)


def _found(job: "Job") -> str:
    if not job.is_over:
        since = f" since {_ago(job.start_time)}" if job.start_time else ""
        return f"found: {job.submission_id} {said(job.status)}{since}; nothing was submitted"
    return (
        f"found: {job.submission_id} {said(job.status)} {_ago(job.end_time)}; nothing was submitted (--again starts it "
        "anew)"
    )


def attempts(jobs: Sequence["Job"], submission_id: str) -> list["Job"]:
    """The jobs of one piece of work, in order: its id, then the id with -2, -3 …"""
    own = [job for job in jobs if job.submission_id.startswith(submission_id) and attempt_number(job, submission_id)]
    return sorted(own, key=lambda job: attempt_number(job, submission_id))


def attempt_number(job: "Job", submission_id: str) -> int:
    """Which attempt of this work a job is, from 1; 0 for a job of another."""
    rest = job.submission_id.removeprefix(submission_id)
    return 1 if not rest else int(rest[1:]) if rest[:1] == "-" and rest[1:].isdigit() else 0


def require_ray(api: "JobsApi") -> None:
    """Raises ClusterError when the cluster has a Ray that this rayox does not work with; nothing is sent by then."""
    from rayox_cluster.versions import ray_range, works_with
    from rayox_model.core.errors import ClusterError

    theirs = api.ray_version()
    if not works_with(theirs, ray_range()):
        raise ClusterError(
            f"the cluster at {api.url} has Ray {theirs}, and this rayox works with Ray {ray_range()}",
            f'bring its nodes to one of those (pip install "ray[default]{ray_range()}"), or use a rayox of its Ray',
        )


def _send(api: "JobsApi", resolved: "Resolved", submission_id: str, goes_on: bool, console: Console) -> "Job | None":
    """Ask the nodes and hand the job over; a job of this id that somebody else has submitted meanwhile."""
    from rayox.jobs.following import VERB
    from rayox.submission.job_driver import STOP_SECONDS
    from rayox.submission.verdicts import counted, driver_label, refuse
    from rayox_cluster.jobs_api import JobRequest
    from rayox_cluster.packaging import build_wheel, build_zip, digest
    from rayox_cluster.preflight import ask

    console.note(f"asking the nodes of {api.url}")
    answers = ask(api, _question(resolved), lambda name: _tell_of_waiting(api, name, console, resolved.recipe))
    refuse(answers.nodes)
    everywhere = all(node.rayox.get("digest") == digest() for node in answers.nodes)
    files, wheel = build_zip(resolved.files(submission_id, goes_on)), b"" if everywhere else build_wheel()
    runtime_env: dict[str, Any] = {
        "working_dir": api.upload(files),
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
    }
    if wheel:
        runtime_env["py_modules"] = [api.upload(wheel)]
    asked = f"{_kilobytes(answers.uploaded_bytes)} sent for that" if answers.uploaded_bytes else "nothing sent for that"
    sent = f"settings {_kilobytes(len(files))}, " + (
        f"rayox {_kilobytes(len(wheel))}" if wheel else "no rayox: all have it"
    )
    console.note(f"{counted(len(answers.nodes))} asked in {answers.seconds:.0f} s ({asked}); sent: {sent}")
    metadata = {RUN: resolved.name, VERB: resolved.verb, "rayox_version": version("rayox")}
    entrypoint = shlex.join(["python", "-m", "rayox.submission.job_driver", "."])
    label = driver_label(answers.nodes)
    return hand_over(api, JobRequest(submission_id, entrypoint, runtime_env, metadata, DRIVER_CPUS, label))


def _question(resolved: "Resolved") -> "Question":
    from rayox_cluster.preflight import Question

    return Question(
        "rayox.submission.node_checks",
        resolved.storage,
        resolved.tracking,
        resolved.paths,
        outputs=resolved.outputs,
        images=resolved.images,
    )


def hand_over(api: "JobsApi", job: "JobRequest") -> "Job | None":
    """Submit a job; that of the same id if somebody has been quicker. Raises ClusterError of what is refused."""
    from rayox_cluster.jobs_api import UnreachableError
    from rayox_model.core.errors import ClusterError

    try:
        api.submit(job)
    except UnreachableError:
        raise
    except ClusterError:
        there = api.find(job.submission_id)
        if there is None:
            raise
        return there
    return None


def wait_for_start(api: "JobsApi", submission_id: str, console: Console, recipe: bytes = b"") -> "Job":
    """The job once it runs or is over, or half a minute later, when what it waits for and what would fit is said.

    Raises ClusterError for a cluster that has been away for all that time, or does not know the job any more.
    """
    from rayox_cluster.jobs_api import UnreachableError
    from rayox_cluster.preflight import START_SECONDS
    from rayox_model.core.errors import ClusterError

    deadline = time.monotonic() + START_SECONDS
    while True:
        is_late = time.monotonic() > deadline
        why = f"the cluster at {api.url} does not know it any more"
        try:
            job = api.find(submission_id)
        except UnreachableError as error:
            job, why = None, error.message
        if job is not None and job.status != "PENDING":
            return job
        if is_late and job is not None:
            _tell_of_waiting(api, submission_id, console, recipe)
            return job
        if is_late:
            raise ClusterError(f"{submission_id} was handed over, but {why}", "submit the same again: it is found")
        time.sleep(POLL_SECONDS)


def _tell_of_waiting(api: "JobsApi", submission_id: str, console: Console, recipe: bytes) -> None:
    from rayox.submission.waiting import what_it_waits_for
    from rayox_cluster.preflight import START_SECONDS

    job = api.find(submission_id)
    why = job.message if job is not None and job.message else "the cluster has given no reason"
    console.note(f"{submission_id} has not started for {START_SECONDS:.0f} s: {why}")
    for line in what_it_waits_for(api, submission_id, recipe):
        console.note(line)


def said(status: str) -> str:
    return {
        "PENDING": "waits to start",
        "RUNNING": "runs",
        "SUCCEEDED": "has finished",
        "STOPPED": "was stopped",
        "FAILED": "has failed",
    }[status]


def _ago(at: float) -> str:
    from rayox.terminal.progress import duration

    return f"{duration(max(time.time() - at, 0))} ago" if at else "just now"


def _kilobytes(num_bytes: int) -> str:
    return f"{max(num_bytes / 1000, 0.1):.1f} kB"
