"""`rayox runs list` and `rayox runs show`: runs as their storage has them, submitted jobs as their clusters do."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from rayox.jobs.job_campaign import campaign_of_job
from rayox.jobs.job_end import ending_of, failed_before
from rayox.jobs.job_register import Submitted, all_submitted
from rayox.jobs.run_places import OVERRIDES, asked_for, found_home, opened, run_of_job, same_place, why_not_seen
from rayox.jobs.submitted_jobs import ANSWER_SECONDS, Seen, api_of, look, look_at
from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import duration

if TYPE_CHECKING:
    from rayox_cluster.jobs_api import Job
    from rayox_platform.runs.overview import Run

COLUMNS = ("run", "state", "step", "epoch", "AP", "last event")


@dataclass(frozen=True)
class Line:
    """A run, a job, or a run with its job."""

    run: "Run | None"
    seen: Seen | None

    @property
    def last(self) -> float:
        return self.run.last if self.run else self.seen.last if self.seen else 0.0

    @property
    def state(self) -> str:
        """Of a run whose next job has not begun yet, or failed before the run went on, that of the job."""
        job = self.seen.job if self.seen else None
        waits = self.seen is not None and self.seen.state == "pending"
        waits |= job is not None and self.run is not None and failed_before(self.run, ending_of(job))
        if self.run is None or (waits and self.run.state != "running"):
            assert self.seen is not None
            return self.seen.state
        return self.run.state

    def cells(self, now: float) -> tuple[object, ...]:
        if self.run is None:
            assert self.seen is not None
            return (self.seen.submitted.run, self.state, "–", "–", None, _ago(self.last, now))
        run = self.run
        done = (_of(run.step, run.num_steps), _of(run.epoch, run.epochs))
        return (run.name, self.state, *done, run.metrics.get("AP"), _ago(run.last, now))

    def where(self) -> tuple[str, str]:
        if self.seen is None:
            return ("", "")
        return (self.seen.submitted.address, self.seen.submitted.submission_id)

    def as_json(self) -> dict[str, Any]:
        """The keys of a run whatever it is; of a job those of the job too."""
        of_job = self.seen.as_json() if self.seen else {}
        if self.run is not None:
            return asdict(self.run) | {"state": self.state} | of_job
        from rayox_platform.runs.overview import Run

        assert self.seen is not None
        nothing: dict[str, Any] = {field.name: None for field in fields(Run)} | {"metrics": {}, "result": {}}
        told = {"name": self.seen.submitted.run, "state": self.state, "last": self.last, "restarts": 0}
        return nothing | told | {"storage": self.seen.submitted.storage} | of_job


@click.command("list")
@OVERRIDES
@json_option
def list_command(overrides: tuple[str, ...], as_json: bool) -> None:
    """All runs, the most recently active first, and what was submitted from here, wherever its run is kept."""
    from rayox_platform.runs.overview import list_runs

    console, now = Console(as_json), time.time()
    with opened(overrides) as place:
        runs = list_runs(place)
    lines = _lines(runs, look(all_submitted()), str(place))
    if lines:
        with_jobs = any(line.seen for line in lines)
        rows = [(*line.cells(now), *(line.where() if with_jobs else ())) for line in lines]
        console.table((*COLUMNS, *(("cluster", "job") if with_jobs else ())), rows)
    else:
        console.text(f"no run in {place}; `rayox train` makes one")
    console.result({"runs": [line.as_json() for line in lines]})


def _lines(runs: "Sequence[Run]", jobs: Sequence[Seen], storage: str) -> list[Line]:
    """A job whose run is among those listed is one line with it."""
    here = {one.submitted.run: one for one in jobs if one.trains and same_place(one.submitted.storage, storage)}
    named = {run.name for run in runs}
    lines = [Line(run, here.get(run.name)) for run in runs]
    lines += [
        Line(None, one) for one in jobs if here.get(one.submitted.run) is not one or one.submitted.run not in named
    ]
    return sorted(lines, key=lambda line: -line.last)


@click.command("show")
@click.argument("name")
@OVERRIDES
@json_option
def show_command(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Where the run NAME stands, or what was submitted as NAME."""
    from rayox_platform.runs.overview import read_run

    console, job = asked_for(name, overrides, as_json)
    run = run_of_job(job) if job else read_run(found_home(name, overrides))
    of_job, result = _of_job(job, run) if job else ([], {})
    console.text(name)
    _print(console, [*(_of_run(run) if run else []), *of_job])
    campaign = campaign_of_job(job) if job and job.verb == "tune" else None  # a store that is away takes long to say so
    if campaign is not None:
        _print(console, [("campaign", f"{campaign}; `{campaign.command}`")])
        result |= {"campaign": campaign.name, "campaign_state": campaign.status}
    console.result((asdict(run) if run else {"name": name}) | result)


def _print(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    for key, text in rows:
        console.text(f"  {key:11} {text}")


def _of_run(run: "Run") -> list[tuple[str, str]]:
    return [
        ("state", run.state + (f" ({run.holder})" if run.holder else "")),
        *([("reason", run.reason)] if run.reason else []),
        ("step", _of(run.step, run.num_steps)),
        ("epoch", _of(run.epoch, run.epochs)),
        ("metrics", "  ".join(f"{key} {value:.3f}" for key, value in run.metrics.items()) or "–"),
        ("restarts", str(run.restarts)),
        ("last event", _ago(run.last, time.time())),
        ("checkpoint", run.checkpoint or "–"),
        ("model", run.result.get("registered") or "–"),
        ("MLflow", _tracked(run)),
        ("folder", run.folder),
    ]


def _of_job(submitted: Submitted, run: "Run | None") -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """What is known of a submitted job, as lines and for programs."""
    seen = look_at(submitted)
    rows, result = [], seen.as_json()
    if run is None:
        rows.append(("state", seen.state))
        result |= {"state": seen.state, "storage": submitted.storage}
    rows.append(("job", f"{submitted.submission_id} ({seen.verb}): {seen.state}"))
    rows.append(("cluster", submitted.address))
    if seen.job is not None:
        more, told = _of_seen(seen.job, submitted)
        rows += more
        result |= told
    if run is None:
        rows.append(("storage", submitted.storage + (f" {why_not_seen(submitted)}" if seen.trains else "")))
    return rows, result


def _of_seen(job: "Job", submitted: Submitted) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Since when, where, and what a job that has not begun waits for."""
    since = job.end_time or job.start_time
    rows = [("since", _ago(since, time.time()))] if since else []
    result: dict[str, Any] = {"since": since or None, "exit_code": job.exit_code}
    if job.status == "RUNNING" and job.node_id:
        rows.append(("driver", _node(job.node_id, submitted)))
        result |= {"node": job.node_id}
    if job.status == "PENDING":
        waits = _waits_for(job, submitted)
        rows += [("waits", waits[0]), *(("", line) for line in waits[1:])]
        result |= {"waits": waits}
    if job.status == "FAILED" and job.message:
        rows.append(("said", " ".join(job.message.split())[-200:]))
    return rows, result


def _node(node_id: str, submitted: Submitted) -> str:
    """The node, with its address if the cluster still knows it."""
    from rayox_model.core.errors import ClusterError

    try:
        nodes = api_of(submitted.address, ANSWER_SECONDS).nodes()
    except (ClusterError, ValueError, KeyError, TypeError):
        nodes = []
    found = [node.address for node in nodes if node.node_id == node_id]
    return f"on node {node_id[:8]}" + (f" ({found[0]})" if found else "")


def _waits_for(job: "Job", submitted: Submitted) -> list[str]:
    from rayox.submission.waiting import what_it_waits_for

    why = [job.message] if job.message else []
    return why + what_it_waits_for(api_of(submitted.address, ANSWER_SECONDS), submitted.submission_id)


def _tracked(run: "Run") -> str:
    if run.unsent is None:
        return "its driver's machine knows"
    return f"{run.unsent} entries unsent: `rayox runs sync {run.name}`" if run.unsent else "up to date"


def _of(done: int, of: int | None) -> str:
    return f"{done}/{of}" if of else str(done)


def _ago(then: float, now: float) -> str:
    return f"{duration(max(0.0, now - then))} ago" if then else "–"
