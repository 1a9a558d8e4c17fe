"""A submitted run as it goes: its panel from the events in its storage, else its job's log; a lost connection waits."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rayox.terminal.campaign_watch import watch_campaign
from rayox.terminal.console import Console
from rayox.terminal.ending import INTERRUPTED
from rayox.terminal.training_panel import TrainingPanel
from rayox_model.core.errors import TrainingError

if TYPE_CHECKING:
    from rayox.jobs.job_register import Submitted
    from rayox_cluster.jobs_api import Job, JobsApi
    from rayox_platform.runs.event_kinds import RunEvent
    from rayox_platform.runs.home import RunHome
    from rayox_platform.tune.campaign_home import CampaignHome

POLL_SECONDS = 1.0
STATUS_SECONDS = 3.0
STARTING = "starting on the cluster"
VERB = "rayox_verb"  # in a job's metadata
EXIT_CODES = (*range(1, 10), INTERRUPTED)  # of verbs that have not done their work
AWAY_SECONDS = 10.0  # after which a connection that is lost is told of


class Watched:
    """The status of a job, asked for at most every few seconds; a head that does not answer changes nothing."""

    def __init__(self, api: "JobsApi", submission_id: str, console: Console) -> None:
        self._api, self._id, self._console = api, submission_id, console
        self.job: Job | None = None
        self.is_forgotten = False  # by the head: whoever follows it knew that it was there
        self._asked, self._answered = 0.0, time.monotonic()
        self._told = False

    def look(self) -> "Job | None":
        from rayox_cluster.jobs_api import UnreachableError

        now = time.monotonic()
        if now - self._asked < STATUS_SECONDS:
            return self.job
        self._asked = now
        try:
            found = self._api.find(self._id)
            if found is None and not self.is_forgotten:
                self.is_forgotten = True
                self._console.note(f"the cluster does not know {self._id} any more: its head has been started anew")
            self.job = found or self.job
            if self._told:
                self._console.note("the cluster answers again")
            self._answered, self._told = time.monotonic(), False
        except UnreachableError as error:
            if not self._told and time.monotonic() - self._answered > AWAY_SECONDS:
                self._told = True
                self._console.note(f"{error.message}; the run goes on without it, and so does looking for it")
        return self.job

    @property
    def seconds_away(self) -> float:
        """For which nobody has answered."""
        return time.monotonic() - self._answered

    @property
    def is_silent(self) -> bool:
        """Whether its cluster has nothing to say of it: nobody has answered for a while, or nobody knows it."""
        return self.is_forgotten or self.seconds_away > AWAY_SECONDS

    @property
    def is_over(self) -> bool:
        job = self.look()
        return job is not None and job.is_over


def follow_job(api: "JobsApi", run: str, submission_id: str, storage: str, console: Console) -> "Job":
    """Show a job until it is over; the job then. Ctrl-C leaves it running and says how to come back.

    Raises ClusterError when its cluster is away for long or has forgotten it, and its storage does not say the end.
    """
    from rayox.jobs.job_end import GIVE_UP_SECONDS, JobWatch, job_as_stored
    from rayox.jobs.job_register import Submitted

    watched, submitted = Watched(api, submission_id, console), Submitted(run, api.url, submission_id, storage)
    try:
        home = _readable_home(submitted, watched, console)
        job = watched.job
        if home is not None:
            _show(home, watched, console)
            job = watched.job
        elif not watched.is_forgotten and watched.seconds_away <= GIVE_UP_SECONDS:
            watch = JobWatch(submitted, console, api)
            for line in log_lines(api, submission_id, lambda: watch.look() is not None):
                console.note(line)
            job = watch.job
    except KeyboardInterrupt:
        console.note(f"left; the job goes on. {ways_back(run)}")
        raise
    return job if job is not None and job.is_over else job_as_stored(submitted)


def ways_back(run: str) -> str:
    return f"`rayox runs watch {run}` comes back, `rayox runs stop {run}` stops it"


def exit_code_of(job: "Job") -> int:
    """What following a job that is over ends with: 0, that of its verb, or 130 for a job that was stopped.

    A driver that was killed has a code of its signal (-9, 137), which is none of a verb.
    """
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return INTERRUPTED
    code = job.exit_code or TrainingError.exit_code
    return code if code in EXIT_CODES else TrainingError.exit_code


def _begun_home(submitted: "Submitted") -> "RunHome | CampaignHome | None":
    """Where what the job does is written down, once it has begun. Raises OSError and RayoxError."""
    from rayox.jobs.job_campaign import campaign_of_job
    from rayox_platform.runs.places import open_runs

    if submitted.verb == "tune":
        campaign = campaign_of_job(submitted)
        return campaign.home if campaign else None
    home = open_runs(submitted.storage).home(submitted.run)
    return home if home.is_begun() else None


def _readable_home(submitted: "Submitted", watched: Watched, console: Console) -> "RunHome | CampaignHome | None":
    """The same once it is there; None when the job ends without one, is lost, or keeps it where this machine sees none.

    None also of a verb that leaves a log alone.
    """
    from rayox.jobs.job_end import GIVE_UP_SECONDS
    from rayox_model.core.errors import RayoxError

    if submitted.verb not in ("train", "tune"):
        return None
    try:
        with TrainingPanel(submitted.run, 0, 0, console) as panel:
            panel.stage(STARTING)
            while True:
                is_over = watched.is_over or watched.is_forgotten or watched.seconds_away > GIVE_UP_SECONDS
                home = _begun_home(submitted)
                if home is not None or is_over:
                    return home
                if watched.job is not None and watched.job.job_id and not _is_shared(submitted.storage):
                    return None
                time.sleep(POLL_SECONDS)
    except (OSError, RayoxError):
        return None


def _is_shared(storage: str) -> bool:
    from rayox.submission.node_checks import MARKER
    from rayox_platform.storage.folders import open_folder

    return open_folder(storage).has(MARKER)


def _show(home: "RunHome | CampaignHome", watched: Watched, console: Console) -> None:
    """Until the job has ended; or, while nobody can be asked, until it is done or nobody works on it."""
    from rayox_platform.runs.overview import is_over as nobody_works_on
    from rayox_platform.storage.errors import storage_errors
    from rayox_platform.tune.campaign_home import CampaignHome

    def is_over() -> bool:
        return watched.is_over or (watched.is_silent and (_is_done(home) or nobody_works_on(home)))

    if isinstance(home, CampaignHome):
        with storage_errors(str(home), "read"):
            watch_campaign(home, console, is_over)
    else:
        _show_events(home, is_over, console)


def _show_events(home: "RunHome", is_over: Callable[[], bool], console: Console) -> None:
    from rayox_platform.runs.overview import read_run
    from rayox_platform.storage.errors import storage_errors

    with storage_errors(str(home), "read"):
        known = read_run(home)
    with TrainingPanel(home.name, known.num_steps or 0, known.epochs or 0, console) as panel:
        panel.stage(STARTING)
        for event in _events(home, is_over):
            panel.show(event)


def _events(home: "RunHome", is_over: Callable[[], bool]) -> "Iterator[RunEvent]":
    """Raises ConfigError when the last look fails."""
    from rayox_platform.runs.events import follow
    from rayox_platform.storage.errors import storage_errors

    with storage_errors(str(home), "read"):
        yield from follow(home.events.tail(whole=True), is_over)


def _is_done(home: "RunHome | CampaignHome") -> bool:
    """Whether its storage says that it has come to its end."""
    from rayox_platform.runs.overview import read_result
    from rayox_platform.tune.campaign_home import CampaignHome
    from rayox_platform.tune.ledger import read_state

    try:
        if not isinstance(home, CampaignHome):
            return bool(read_result(home))
        ended = read_state(home.journal()).ended
    except OSError:
        return False
    return ended is not None and ended.status == "finished"


def log_lines(api: "JobsApi", submission_id: str, is_over: Callable[[], bool]) -> Iterator[str]:
    """The lines of a job's log as they come, until it is over."""
    from rayox_model.core.errors import ClusterError

    shown = 0
    while True:
        last_look = is_over()
        try:
            text = api.logs(submission_id)
        except ClusterError:  # it is away, or does not know the job any more
            text = ""
        whole = text if last_look else text[: text.rfind("\n") + 1]
        if len(whole) > shown:
            yield from whole[shown:].splitlines()
            shown = len(whole)
        if last_look:
            return
        time.sleep(POLL_SECONDS)
