"""`rayox submit`: any verb as a job of a Ray cluster, over its Jobs API, from a machine that reaches no node of it."""

import shlex
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from rayox.console import Console, json_option

if TYPE_CHECKING:
    from rayox.resolved import Resolved
    from rayox_cluster.jobs_api import Job, JobsApi
    from rayox_cluster.preflight import Answers

DRIVER_CPUS = 0.0  # a driver waits for its workers; Ray's own default
LAST_LINES = 10
STOP_SECONDS = 600  # a stopped job has so long to save
CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("submit", context_settings=CONTEXT)
@click.option(
    "--address",
    envvar="RAYOX_ADDRESS",
    help="Dashboard of the cluster, http://HEAD:8265; else that of RAY_ADDRESS or `rayox cluster up`.",
)
@click.option("--follow", "-f", is_flag=True, help="Show the run until it ends; Ctrl-C leaves it running.")
@json_option
@click.argument("words", nargs=-1, metavar="-- VERB [ARGUMENTS]...")
def command(address: str | None, follow: bool, as_json: bool, words: tuple[str, ...]) -> None:
    """Run a verb as a job on a Ray cluster.

    Sends rayox itself and the resolved settings, nothing else: data lie where all nodes read them, and credentials are
    the nodes' own. Submitting the same again finds the job that runs or has finished, or resumes one that failed.
    """
    from rayox.following import exit_code_of, follow_job
    from rayox.resolved import resolve
    from rayox_cluster.access import find_cluster, named_dashboard
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.storage.state import state_folder

    console = Console(as_json)
    dashboard, record = find_cluster(named_dashboard(address), state_folder())
    resolved = resolve(words, record)
    api = JobsApi(dashboard)
    job = submit(api, resolved, console)
    if follow:
        job = follow_job(api, resolved.name, job.submission_id, resolved.storage, console)
    if follow and job.status == "FAILED":
        _show_last_words(api, job, console)
    console.text(f"{resolved.name}: job {job.submission_id} {said(job.status)}")
    if not job.is_over:
        console.text(f"next       rayox runs watch {resolved.name}; rayox runs stop {resolved.name}")
    console.result(
        {
            "run": resolved.name,
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
    from rayox_cluster.jobs_api import UnreachableError

    try:
        lines = api.logs(job.submission_id).strip().splitlines()
    except UnreachableError:
        lines = job.message.strip().splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith("error:")]
    for line in lines[begins[-1] if begins else -LAST_LINES :]:
        console.note(line)


def submit(api: "JobsApi", resolved: "Resolved", console: Console) -> "Job":
    """The job that does this work: one that is there already, or a new one. Raises what stands against it."""
    from rayox.job_register import remember

    require_ray(api)
    before = attempts(api.jobs(), resolved.submission_id)
    last = before[-1] if before else None
    remember(resolved.name, api.url, last.submission_id if last else "", resolved.storage)
    if last is not None and not last.is_over:
        console.note(
            f"found: {last.submission_id} {said(last.status)} since {_ago(last.start_time)}; nothing was submitted"
        )
        return last
    if last is not None and last.status == "SUCCEEDED":
        console.note(f"found: {last.submission_id} has finished {_ago(last.end_time)}; nothing was submitted")
        return last
    if last is not None:
        console.note(f"{last.submission_id} {said(last.status)} {_ago(last.end_time)}: going on with it")
    submission_id = f"{resolved.submission_id}-{len(before) + 1}" if before else resolved.submission_id
    _send(api, resolved, submission_id, bool(before), console)
    remember(resolved.name, api.url, submission_id, resolved.storage)
    return wait_for_start(api, submission_id, console, resolved.recipe)


def attempts(jobs: Sequence["Job"], submission_id: str) -> list["Job"]:
    """The jobs of one piece of work, in order: its id, then the id with -2, -3 …"""

    def number(job: "Job") -> int:
        rest = job.submission_id.removeprefix(submission_id)
        return 1 if not rest else int(rest[1:]) if rest[:1] == "-" and rest[1:].isdigit() else 0

    return sorted([job for job in jobs if job.submission_id.startswith(submission_id) and number(job)], key=number)


def require_ray(api: "JobsApi") -> None:
    """Raises ClusterError when the cluster has another Ray than this rayox needs; nothing has been sent by then."""
    from rayox_model.core.errors import ClusterError

    theirs, ours = api.ray_version(), version("ray")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise ClusterError(
            f"the cluster at {api.url} has Ray {theirs}, and this rayox works with {'.'.join(ours.split('.')[:2])}",
            f"bring its nodes to ray=={ours}, or use a rayox of its Ray",
        )


def _send(api: "JobsApi", resolved: "Resolved", submission_id: str, goes_on: bool, console: Console) -> None:
    from rayox.following import VERB
    from rayox.verdicts import refuse
    from rayox_cluster.jobs_api import JobRequest
    from rayox_cluster.packaging import build_wheel, build_zip, digest
    from rayox_cluster.preflight import Question, ask

    console.note(f"asking the nodes of {api.url}")
    question = Question("rayox.node_checks", resolved.storage, resolved.tracking, resolved.paths)
    answers = ask(api, question, lambda name: _tell_of_waiting(api, name, console, resolved.recipe))
    refuse(answers.nodes)
    everywhere = all(node.rayox.get("digest") == digest() for node in answers.nodes)
    wheel = b"" if everywhere else build_wheel()
    files = build_zip(resolved.files(submission_id, goes_on))
    runtime_env: dict[str, Any] = {
        "working_dir": api.upload(files),
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
    }
    if wheel:
        runtime_env["py_modules"] = [api.upload(wheel)]
    sent = f"settings {_kilobytes(files)}" + (f", rayox {_kilobytes(wheel)}" if wheel else "")
    has = "" if wheel else " (the nodes have this rayox)"
    console.note(f"{len(answers.nodes)} nodes asked in {answers.seconds:.0f} s; sent: {sent}{has}")
    metadata = {"rayox_run": resolved.name, VERB: resolved.verb, "rayox_version": version("rayox")}
    entrypoint = shlex.join(["python", "-m", "rayox.job_driver", "."])
    api.submit(JobRequest(submission_id, entrypoint, runtime_env, metadata, DRIVER_CPUS, driver_label(answers)))


def driver_label(answers: "Answers") -> dict[str, str] | None:
    """A driver is lost with its node: never one that can be taken away, where labels tell them apart."""
    markets = {node.labels.get("ray.io/market-type", "") for node in answers.nodes}
    return {"ray.io/market-type": "!spot"} if "spot" in markets and len(markets) > 1 else None


def wait_for_start(api: "JobsApi", submission_id: str, console: Console, recipe: bytes = b"") -> "Job":
    """The job once it runs or is over, or half a minute later, when what it waits for and what would fit is said."""
    from rayox_cluster.preflight import START_SECONDS

    deadline = time.monotonic() + START_SECONDS
    while True:
        job = api.find(submission_id)
        assert job is not None
        if job.status != "PENDING":
            return job
        if time.monotonic() > deadline:
            _tell_of_waiting(api, submission_id, console, recipe)
            return job
        time.sleep(0.5)


def _tell_of_waiting(api: "JobsApi", submission_id: str, console: Console, recipe: bytes) -> None:
    from rayox.waiting import what_it_waits_for
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
    from rayox.progress import duration

    return f"{duration(max(time.time() - at, 0))} ago" if at else "just now"


def _kilobytes(content: bytes) -> str:
    return f"{max(len(content) / 1000, 0.1):.1f} kB"
