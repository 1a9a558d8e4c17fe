"""A drill as it goes: the run is submitted and struck, and what that cost is read off its events."""

import inspect
import json
import math
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from rayox.terminal.console import Console
from rayox_model.core.errors import ClusterError, TrainingError
from rayox_platform.runs.event_kinds import Checkpoint, Progress, RunEvent, Start

if TYPE_CHECKING:
    from rayox.submission.resolved import Resolved
    from rayox_cluster.jobs_api import Job, JobsApi
    from rayox_platform.runs.home import RunHome

KILLS, OUTAGES = ("worker", "node", "driver"), ("tracking", "storage")
EVERY_STEPS = 5  # between two checkpoints of the run that is drilled
POLL_SECONDS = 1.0
LONGEST_SECONDS = 1800.0  # for a run to come back
AWAY_SECONDS = 300.0  # for a dashboard
Events = Sequence[RunEvent]


@dataclass(frozen=True)
class Struck:
    """One fault and what came of it."""

    fault: str
    hit: str
    at_step: int
    resumed_at: int
    steps_lost: int
    seconds: float  # without a step: from a kill to the next one, or the longest while of an outage
    broken: str = ""  # what was promised and is not so


def drill(
    api: "JobsApi", resolved: "Resolved", faults: Sequence[str], outage: float, console: Console
) -> tuple[list[Struck], str]:
    """Submit the run, strike it once for each fault and let it finish; returns how its job ended, too."""
    from rayox.submit import submit
    from rayox_platform.runs.places import open_runs

    job = submit(api, resolved, console)
    home = open_runs(resolved.storage).home(resolved.name)
    struck = []
    for fault in faults:
        _wait_for_steps(home, api, job)
        hit, at = strike(api, fault, job, str(home), outage)
        if fault in OUTAGES:
            console.note(f"took away {hit}; it is back")
            _wait_for_checkpoint(home, api, job, at)
            struck.append(weathered(fault, hit, _events(home), at - outage, at))
            console.note(f"at most {struck[-1].seconds:.1f} s without a step (it was at {struck[-1].at_step})")
            continue
        console.note(f"killed {hit}")
        if fault == "driver":
            job = _until_over(api, job.submission_id)
            job = submit(api, resolved, console)
        struck.append(restarted(fault, hit, *_next_start(home, api, job, at), at))
        one = struck[-1]
        console.note(f"training again after {one.seconds:.1f} s, from step {one.resumed_at} (it was at {one.at_step})")
    status = _until_over(api, job.submission_id).status.lower()
    return [_with_tracking(one, home) for one in struck], status


def restarted(fault: str, hit: str, before: int, resumed: int, next_step_at: float, killed_at: float) -> Struck:
    """What a kill cost: the last step before it, the one training went on from, and when the next was taken."""
    lost = max(before - resumed, 0)
    broken = f"{lost} steps are more than between two checkpoints" if lost > EVERY_STEPS else ""
    return Struck(fault, hit, before, resumed, lost, next_step_at - killed_at, broken)


def weathered(fault: str, hit: str, events: Events, began: float, ended: float) -> Struck:
    """What an outage cost, told by events that go on beyond its end: no restart, no step, or what there was."""
    steps = [event for event in events if isinstance(event, Progress)]
    before = max((int(event.step) for event in steps if event.time <= began), default=0)
    times = [float(event.time) for event in steps]
    pauses = [later - earlier for earlier, later in pairwise(times) if later > began and earlier < ended]
    longest = max(pauses, default=0.0)
    start = next((event for event in events if isinstance(event, Start) and event.time > began), None)
    if start is None:
        return Struck(fault, hit, before, before, 0, longest)
    last = max((int(event.step) for event in steps if event.time < start.time), default=0)
    resumed, broken = int(start.step), "the workers had to start again"
    return Struck(fault, hit, last, resumed, max(last - resumed, 0), longest, broken)


def strike(api: "JobsApi", fault: str, job: "Job", folder: str = "", seconds: float = 0.0) -> tuple[str, float]:
    """What was hit, and when; of an outage, when it was over."""
    from rayox_cluster import strike
    from rayox_cluster.jobs_api import JobRequest
    from rayox_cluster.packaging import build_zip

    current = api.find(job.submission_id)
    assert current is not None
    name = f"rayox-strike-{secrets.token_hex(4)}"
    files = build_zip({"strike.py": inspect.getsource(strike).encode()})
    blow = json.dumps(asdict(strike.Blow(fault, job.submission_id, current.node_id, folder, seconds, current.job_id)))
    words = ["python", "strike.py", blow]
    api.submit(JobRequest(name, shlex.join(words), {"working_dir": api.upload(files)}, {"rayox_verb": "drill"}))
    ended = _until_over(api, name, LONGEST_SECONDS)
    log = api.logs(name)
    said = [line for line in log.splitlines() if line.startswith(strike.STRUCK)]
    if not said:
        last = (log.strip() or ended.message or ended.status.lower()).splitlines()[-1]
        raise ClusterError(
            f"the {fault} fault could not be injected: {last[:200]}",
            "the node fault needs a node that has a worker but neither head nor driver; the tracking fault needs nodes "
            "without an HTTP proxy of their own",
        )
    hit, at = json.loads(said[-1].removeprefix(strike.STRUCK))
    return str(hit), float(at)


def _with_tracking(one: Struck, home: "RunHome") -> Struck:
    """Whether MLflow has all that it missed in its outage, which is known at the end."""
    from rayox_platform.runs.overview import read_run

    if one.fault != "tracking" or one.broken:
        return one
    unsent = read_run(home).unsent
    return replace(one, broken=f"{unsent} entries of the run are not in MLflow") if unsent else one


def _wait_for_steps(home: "RunHome", api: "JobsApi", job: "Job") -> None:
    """Until a checkpoint is behind the run and another step, since its last start."""

    def is_there() -> bool:
        events = _events(home)
        begun = max((event.time for event in events if isinstance(event, Start)), default=0.0)
        saved = [event.step for event in events if isinstance(event, Checkpoint) and event.time > begun]
        steps = [event.step for event in events if isinstance(event, Progress)]
        return bool(saved and steps and steps[-1] > saved[-1])

    _until(is_there, home, api, job, POLL_SECONDS / 4)


def _wait_for_checkpoint(home: "RunHome", api: "JobsApi", job: "Job", after: float) -> None:
    """Wait until one is written after this time, and a step is taken after it."""

    def is_there() -> bool:
        saved = [one.time for one in _events(home) if isinstance(one, Checkpoint) and one.time > after]
        return bool(saved) and any(isinstance(one, Progress) and one.time > saved[0] for one in _events(home))

    _until(is_there, home, api, job)


def _next_start(home: "RunHome", api: "JobsApi", job: "Job", after: float) -> tuple[int, int, float]:
    """The last step before the restart, the step that training went on from, and when its next one was taken."""
    found: list[tuple[int, int, float]] = []

    def is_there() -> bool:
        events = _events(home)
        start = next((event for event in events if isinstance(event, Start) and event.time > after), None)
        steps = [event for event in events if isinstance(event, Progress)]
        again = [event for event in steps if start is not None and event.time > start.time]
        if start is not None and again:
            last = max((event.step for event in steps if event.time < start.time), default=0)
            found.append((int(last), int(start.step), float(again[0].time)))
        return bool(found)

    _until(is_there, home, api, job)
    return found[0]


def _until(
    is_there: Callable[[], bool], home: "RunHome", api: "JobsApi", job: "Job", poll_seconds: float = POLL_SECONDS
) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{home.name} has not resumed within {LONGEST_SECONDS:.0f} s",
                f"`rayox runs logs {home.name}` says what it does",
            )
        _still_there(api, job)
        time.sleep(poll_seconds)


def _until_over(api: "JobsApi", submission_id: str, longest_seconds: float = math.inf) -> "Job":
    """A job, once it has ended. A dashboard may be away for a while; raises UnreachableError when it stays away.

    Raises ClusterError of a job that the cluster does not know, and of one that takes longer than it may.
    """
    from rayox_cluster.jobs_api import UnreachableError

    began = answered = time.monotonic()
    while True:
        try:
            found = api.find(submission_id)
            answered = time.monotonic()
            if found is None:
                raise ClusterError(
                    f"the cluster at {api.url} does not know {submission_id} any more",
                    "its head has been started anew; `rayox doctor` looks at it",
                )
            if found.is_over:
                return found
            if answered - began > longest_seconds:
                raise ClusterError(
                    f"{submission_id} has not ended after {longest_seconds:.0f} s: it is {found.status.lower()}",
                    f"`rayox doctor --address {api.url}` looks at the nodes",
                )
        except UnreachableError:
            if time.monotonic() - answered > AWAY_SECONDS:
                raise
        time.sleep(POLL_SECONDS)


def _still_there(api: "JobsApi", job: "Job") -> None:
    from rayox_cluster.jobs_api import UnreachableError

    found = None
    with suppress(UnreachableError):  # a drill takes things away; whoever calls this has a limit of its own
        found = api.find(job.submission_id)
    if found is not None and found.is_over:
        raise TrainingError(
            f"the run ended ({found.status.lower()}) before the drill was done: {found.message[-200:]}",
            "give it more steps (train.epochs), or fewer --faults",
        )


def _events(home: "RunHome") -> Events:
    try:
        return home.events.read()
    except OSError:
        return ()
