"""`rayox runs cost`: how long the workers of a run, of a campaign's trials or the process of a job were in use."""

import time
from typing import Any

import click

from rayox.jobs.job_campaign import JobCampaign, campaign_of_job
from rayox.jobs.run_places import OVERRIDES, asked_for, found_home, home_of_job
from rayox.jobs.submitted_jobs import Seen, look_at
from rayox.terminal.console import json_option
from rayox.terminal.progress import duration
from rayox_model.core.errors import RayoxError
from rayox_platform.runs.event_kinds import RunEvent, Stage, Start


@click.command("cost")
@click.argument("name")
@OVERRIDES
@click.option("--per-hour", type=click.FloatRange(min=0), help="Price of one worker's machine share for an hour.")
@json_option
def cost_command(name: str, overrides: tuple[str, ...], per_hour: float | None, as_json: bool) -> None:
    """Say how long the workers of the run NAME have been in use, restarts included, and what that costs.

    Of a submitted campaign those of all its trials; of another job how long it has taken.
    """
    console, job = asked_for(name, overrides, as_json)
    home = home_of_job(job) if job else found_home(name, overrides)
    hours: float | None
    result: dict[str, Any]
    if home is not None:
        hours = worker_hours(home.events.read())
        text, result = f"{hours:.3f} worker hours", {"run": name, "worker_hours": round(hours, 4)}
    else:
        assert job is not None
        campaign = campaign_of_job(job) if job.verb == "tune" else None
        hours, text, result = _of_campaign(campaign) if campaign else _of_job(look_at(job))
        result = {"run": name, "submission_id": job.submission_id} | result
    console.text(f"{name}: {text}")
    if per_hour is not None and hours is not None:
        console.text(f"at {per_hour:g} an hour: {hours * per_hour:.2f}")
        result["cost"] = round(hours * per_hour, 4)
    console.result(result)


def worker_hours(events: list[RunEvent]) -> float:
    """The time from each start of training to the last event before the next start, times its workers."""
    total, workers, began, last = 0.0, 0, 0.0, 0.0
    for event in events:
        if isinstance(event, Stage):  # its driver's, which may come long after its workers have gone
            continue
        if isinstance(event, Start):
            total += workers * (last - began)
            workers, began = event.workers, event.time if event.began is None else event.began
        last = event.time
    return (total + workers * (last - began)) / 3600


def _of_campaign(campaign: JobCampaign) -> tuple[float, str, dict[str, Any]]:
    """The worker hours of all runs of its trials that are still there, and the GPU hours that its ledger has."""
    hours, gone = 0.0, []
    names = _trial_runs(campaign)
    for name in names:
        found = _hours_of_trial(campaign, name)
        hours += found or 0.0
        gone += [name] if found is None else []
    gpu_hours = sum(trial.gpu_seconds for trial in campaign.state.trials) / 3600
    text = f"campaign {campaign.name}: {hours:.3f} worker hours of {len(names) - len(gone)} runs"
    text += f", {gpu_hours:.3f} GPU hours" if gpu_hours else ""
    text += f"; {len(gone)} runs are not there and not counted" if gone else ""
    result = {"campaign": campaign.name, "worker_hours": round(hours, 4), "gpu_hours": round(gpu_hours, 4)}
    return hours, text, result | {"runs_counted": len(names) - len(gone), "runs_missing": len(gone)}


def _trial_runs(campaign: JobCampaign) -> list[str]:
    """All runs of its trials: a trial that takes over another's weights continues in a new run."""
    from rayox_platform.tune.ledger_records import Exploited, Planned, from_record

    journal = campaign.home.journal()
    events = [from_record(record, str(journal))[0] for record in journal.read()]
    return list(dict.fromkeys(event.run for event in events if isinstance(event, Planned | Exploited)))


def _hours_of_trial(campaign: JobCampaign, name: str) -> float | None:
    from rayox_platform.runs.places import open_runs

    try:
        home = open_runs(campaign.home.storage).home(name)
        return worker_hours(home.events.read()) if home.is_begun() else None
    except (OSError, RayoxError):
        return None


def _of_job(seen: Seen) -> tuple[float | None, str, dict[str, Any]]:
    """The time that its process has taken, as far as its cluster has told."""
    job = seen.job
    if job is None:
        return None, f"how long it took is not known ({seen.state})", {"seconds": None}
    if job.status == "PENDING" or not job.start_time:
        return 0.0, "has not begun", {"seconds": 0.0}
    seconds = max((job.end_time or time.time()) - job.start_time, 0.0)
    told = "took" if job.is_over else "has run for"
    return seconds / 3600, f"its job {told} {duration(seconds)}", {"seconds": round(seconds, 1)}
