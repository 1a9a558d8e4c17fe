"""How a submitted job ends: as its cluster says; once that is gone, as its storage says."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rayox.jobs import following
from rayox.jobs.job_campaign import campaign_of_job
from rayox.jobs.job_register import Submitted
from rayox.jobs.run_places import run_of_job
from rayox.jobs.submitted_jobs import api_of, ended_job, note_if_over
from rayox.terminal.console import Console
from rayox.terminal.ending import INTERRUPTED
from rayox.terminal.progress import duration
from rayox_model.core.errors import ClusterError, TrainingError

if TYPE_CHECKING:
    from rayox_cluster.jobs_api import Job, JobsApi
    from rayox_platform.runs.overview import Run

POLL_SECONDS = 1.0
STORAGE_SECONDS = 3.0  # between two looks into the storage
QUIET_SECONDS = 30.0  # for which nobody has to hold a run that has no result: a driver that takes it over needs some
GIVE_UP_SECONDS = 300.0  # without an answer from the cluster and without a word in the storage


@dataclass(frozen=True)
class Ending:
    """How a job is over: the state of its run or campaign where that is known, else its own."""

    state: str
    exit_code: int
    began: float = 0.0  # the job, where its cluster has told


class JobWatch:
    """Looks whether a job is over. A cluster that does not answer is waited for, and its storage asked meanwhile."""

    def __init__(self, submitted: Submitted, console: Console, api: "JobsApi | None" = None) -> None:
        self.name = submitted.run
        self.job: Job | None = None  # as its cluster has told of it last
        self._submitted, self._console = submitted, console
        self._api = api or api_of(submitted.address)
        self._answered = time.monotonic()
        self._looked = 0.0  # into the storage
        self._quiet_since: float | None = None
        self._told = False

    def look(self) -> Ending | None:
        """None while it goes on. Raises ClusterError when nobody can say any more how it ended."""
        from rayox_cluster.jobs_api import UnreachableError

        if self._submitted.status:
            return ending_of(ended_job(self._submitted))
        try:
            job = self._api.find(self._submitted.submission_id)
        except UnreachableError as error:
            return self._without_cluster(error.message)
        if job is None:
            why = f"the cluster at {self._submitted.address} does not know this job any more"
            return self._without_cluster(why, patience=following.AWAY_SECONDS)
        if self._told:
            self._console.note("the cluster answers again")
        self._answered, self._told, self._quiet_since = time.monotonic(), False, None
        self.job = job
        note_if_over(self._submitted, job)
        return ending_of(job) if job.is_over else None

    def _without_cluster(self, why: str, patience: float | None = None) -> Ending | None:
        now = time.monotonic()
        if now - self._answered <= following.AWAY_SECONDS or now - self._looked < STORAGE_SECONDS:
            return None
        if not self._told:
            self._told = True
            self._console.note(f"{why}; {self._submitted.storage} is asked how it ends")
        self._looked = now
        state = state_in_storage(self._submitted)
        if state is None:
            if now - self._answered > (GIVE_UP_SECONDS if patience is None else patience):
                raise nobody_knows(self._submitted, why)
            return None
        if state == "running":
            self._quiet_since = None
            return None
        self._quiet_since = now if self._quiet_since is None else self._quiet_since
        if state != "finished" and now - self._quiet_since < QUIET_SECONDS:
            return None
        self._console.note(f"{self._submitted.run} is {state}, as {self._submitted.storage} says")
        return Ending(state, exit_code_of_state(state))


def nobody_knows(submitted: Submitted, why: str) -> ClusterError:
    return ClusterError(
        f"{submitted.run}: {why}, and {submitted.storage} does not say how it ended, as far as it is seen from here",
        "look again when the cluster is back, or from where its storage is seen",
    )


def until_over(watch: JobWatch, console: Console, timeout: float | None = None, doing: str = "") -> Ending:
    """Wait for a job's end; doing is what is said of it every half a minute. Raises ClusterError after timeout."""
    began = said = time.monotonic()
    while True:
        ending = watch.look()
        if ending is not None:
            return ending
        now = time.monotonic()
        if timeout is not None and now - began > timeout:
            raise not_ended(watch.name, timeout)
        if doing and now - said > 30:
            said = now
            console.note(f"{doing} after {duration(now - began)}")
        time.sleep(POLL_SECONDS)


def not_ended(name: str, timeout: float) -> ClusterError:
    return ClusterError(f"{name} has not ended after {timeout:g} s", "wait longer, or `rayox runs watch` it")


def ending_of(job: "Job") -> Ending:
    return Ending(job.status.lower(), following.exit_code_of(job), job.start_time)


def failed_before(run: "Run", ending: Ending) -> bool:
    """Whether a job failed before its run went on: what the run says is of the job before."""
    return ending.state == "failed" and run.last < ending.began and run.state not in ("running", "finished")


def exit_code_of_state(state: str) -> int:
    """As `runs wait` has it: 0 finished (a campaign also when it was asked to end), 130 interrupted, else 8."""
    if state in ("finished", "stopped"):
        return 0
    return INTERRUPTED if state == "interrupted" else TrainingError.exit_code


def job_as_stored(submitted: Submitted) -> "Job":
    """A job that its cluster tells nothing of any more, over as its storage has it. Raises ClusterError."""
    run, state = run_of_job(submitted), state_in_storage(submitted)
    if state is None or state == "running":
        raise nobody_knows(submitted, f"the cluster at {submitted.address} tells nothing of this job any more")
    status = {0: "SUCCEEDED", INTERRUPTED: "STOPPED"}.get(exit_code_of_state(state), "FAILED")
    told = (run.exit_code, run.reason or "") if run else (None, "")
    return ended_job(replace(submitted, status=status, exit_code=told[0], message=told[1]))


def state_in_storage(submitted: Submitted) -> str | None:
    """Of a job's run, or of its campaign; None where neither is seen from here."""
    if submitted.verb == "tune":
        campaign = campaign_of_job(submitted)
        return campaign.status if campaign else None
    run = run_of_job(submitted)
    return run.state if run else None
