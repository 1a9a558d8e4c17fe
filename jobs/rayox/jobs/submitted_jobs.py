"""What clusters say of submitted jobs within a few seconds, all of one cluster together; or that one is away."""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rayox.jobs.job_register import Submitted, note_end
from rayox_model.core.errors import ClusterError, RayoxError

if TYPE_CHECKING:
    from rayox_cluster.jobs_api import Job, JobsApi

ANSWER_SECONDS = 3.0
MOST_KEPT = 500  # characters of a message that may have a whole log
AWAY, REFUSED, UNKNOWN = "cluster away", "cluster refuses", "unknown to its cluster"


@dataclass(frozen=True)
class Seen:
    """A submitted job, and what its cluster says of it now."""

    submitted: Submitted
    job: "Job | None"
    state: str  # the job's in small letters, or why there is none

    @property
    def verb(self) -> str:
        from rayox.jobs.following import VERB

        return self.job.metadata.get(VERB, self.submitted.verb) if self.job else self.submitted.verb

    @property
    def trains(self) -> bool:
        """Whether it is a run, with a folder of its name."""
        return self.verb == "train"

    @property
    def last(self) -> float:
        """When something is known to have happened to it last."""
        return (self.job.end_time or self.job.start_time if self.job else 0.0) or self.submitted.noted

    def as_json(self) -> dict[str, Any]:
        return {
            "submission_id": self.submitted.submission_id,
            "address": self.submitted.address,
            "verb": self.verb,
            "job_state": self.state,
        }


def look(jobs: Sequence[Submitted], seconds: float = ANSWER_SECONDS) -> list[Seen]:
    """Each job as its cluster has it; all clusters are asked at once, and not of jobs that are known to be over."""
    answers: dict[str, dict[str, Job] | str] = {}
    threads = []
    for address in dict.fromkeys(job.address for job in jobs if not job.status):
        try:
            api = api_of(address, seconds)
        except RayoxError:  # its token cannot be read
            answers[address] = REFUSED
            continue
        threads.append(threading.Thread(target=_ask, args=(api, address, answers), daemon=True))
    for thread in threads:  # once no token is looked for any more, which takes this process's environment away
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [_seen(job, answers.get(job.address, AWAY)) for job in jobs]


def look_at(job: Submitted) -> Seen:
    return look([job])[0]


def api_of(address: str, seconds: float | None = None) -> "JobsApi":
    """A dashboard, with this process let in where the token is known; that of one cluster goes to no other one.

    seconds is how long all requests to it together may wait.
    """
    from rayox_cluster.access import auth_headers, find_cluster
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.storage.state import state_folder

    before = dict(os.environ)
    try:
        with suppress(RayoxError):
            address = find_cluster(address, state_folder())[0]
        return JobsApi(address, auth_headers(), None if seconds is None else time.monotonic() + seconds)
    finally:
        os.environ.clear()
        os.environ.update(before)


def note_if_over(submitted: Submitted, job: "Job") -> None:
    """Keep how it ended, for when its cluster is gone."""
    if job.is_over:
        with suppress(OSError):
            note_end(
                replace(
                    submitted,
                    status=job.status,
                    exit_code=job.exit_code,
                    message=job.message[-MOST_KEPT:],
                    began=job.start_time,
                    ended=job.end_time,
                )
            )


def _ask(api: "JobsApi", address: str, answers: "dict[str, dict[str, Job] | str]") -> None:
    from rayox_cluster.jobs_api import UnreachableError

    try:
        answers[address] = {job.submission_id: job for job in api.jobs()}
    except UnreachableError:
        answers[address] = AWAY
    except (ClusterError, ValueError, KeyError, TypeError, AttributeError):  # no token, or not a dashboard of Ray
        answers[address] = REFUSED


def ended_job(submitted: Submitted) -> "Job":
    """A job whose end is noted here."""
    from typing import cast

    from rayox_cluster.jobs_api import Job, Status

    return Job(
        submission_id=submitted.submission_id,
        status=cast(Status, submitted.status),
        message=submitted.message,
        metadata={},
        start_time=submitted.began,
        end_time=submitted.ended,
        node_id="",
        job_id="",
        exit_code=submitted.exit_code,
    )


def _seen(submitted: Submitted, answer: "dict[str, Job] | str") -> Seen:
    if submitted.status:
        job = ended_job(submitted)
        return Seen(submitted, job, job.status.lower())
    if isinstance(answer, str):
        return Seen(submitted, None, answer)
    found = answer.get(submitted.submission_id)
    if found is None:
        return Seen(submitted, None, UNKNOWN)
    note_if_over(submitted, found)
    return Seen(submitted, found, found.status.lower())
