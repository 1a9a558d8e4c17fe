"""`rayox drill`: a short run on the user's own cluster, with its worker, a node and its driver killed on the way."""

import inspect
import json
import secrets
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from rayox.console import Console, json_option
from rayox_model.core.errors import ClusterError, ConfigError, TrainingError
from rayox_platform.runs.event_kinds import Checkpoint, Progress, RunEvent, Start

if TYPE_CHECKING:
    from rayox.resolved import Resolved
    from rayox_cluster.jobs_api import Job, JobsApi
    from rayox_platform.runs.home import RunHome

FAULTS = ("worker", "node", "driver")
EVERY_STEPS = 5
POLL_SECONDS = 1.0
LONGEST_SECONDS = 1800.0  # for a run to come back
PROMISE_STEPS = EVERY_STEPS


@dataclass(frozen=True)
class Struck:
    """One fault and what came of it."""

    fault: str
    hit: str
    at_step: int
    resumed_at: int
    steps_lost: int
    seconds: float  # from the fault to the next step

    @property
    def as_promised(self) -> bool:
        return self.steps_lost <= PROMISE_STEPS


@click.command("drill")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--address", envvar="RAYOX_ADDRESS", help="Dashboard of the cluster; by default the one of `cluster up`.")
@click.option("--faults", default=",".join(FAULTS), show_default=True, help="Which, in this order.")
@click.option("--yes", is_flag=True, help="Do not ask before a node is killed.")
@json_option
def command(
    recipe: str, overrides: tuple[str, ...], address: str | None, faults: str, yes: bool, as_json: bool
) -> None:
    """Kill a worker, a node and the driver of a run by a RECIPE on a cluster, and say what that cost.

    The run is real and short if its settings say so (train.epochs=3). Its storage has to be visible from here.
    """
    from rayox.resolved import resolve
    from rayox_cluster.access import find_cluster
    from rayox_cluster.jobs_api import JobsApi
    from rayox_platform.storage.state import state_folder

    console, wanted = Console(as_json), tuple(word.strip() for word in faults.split(","))
    unknown = [word for word in wanted if word not in FAULTS]
    if unknown:
        raise ConfigError(f"--faults: {unknown[0]!r} is none of {', '.join(FAULTS)}", "name them with commas between")
    if "node" in wanted and not yes:
        click.confirm("the drill kills the raylet of a node of this cluster; go on?", abort=True, err=True)
    dashboard, record = find_cluster(address, state_folder())
    name = f"drill-{secrets.token_hex(3)}"
    settings = [f"checkpoint.every_steps={EVERY_STEPS}", "train.max_failures=10"]
    resolved = resolve(("train", recipe, *settings, *overrides, "--name", name), record)
    struck, job = drill(JobsApi(dashboard), resolved, wanted, console)
    columns = ("fault", "hit", "at step", "went on at", "steps lost", "seconds", "as promised")
    rows = [
        (
            one.fault,
            one.hit,
            one.at_step,
            one.resumed_at,
            one.steps_lost,
            round(one.seconds, 1),
            "yes" if one.as_promised else "NO",
        )
        for one in struck
    ]
    console.table(columns, rows)
    console.text(f"{name}: {job.status.lower()}; promised are at most the {PROMISE_STEPS} steps since a checkpoint")
    good = job.status == "SUCCEEDED" and all(one.as_promised for one in struck)
    console.result({"ok": good, "run": name, "faults": [asdict(one) for one in struck], "status": job.status.lower()})
    if not good:
        raise click.exceptions.Exit(TrainingError.exit_code)


def drill(api: "JobsApi", resolved: "Resolved", faults: Sequence[str], console: Console) -> tuple[list[Struck], "Job"]:
    """Submit the run, strike it once for each fault and let it finish."""
    from rayox.submit import submit
    from rayox_platform.runs.places import open_runs

    job = submit(api, resolved, console)
    home = open_runs(resolved.storage).home(resolved.name)
    struck = []
    for fault in faults:
        _wait_for_steps(home, api, job)
        hit, began = _strike(api, fault, job)
        console.note(f"killed {hit}")
        if fault == "driver":
            job = _until_over(api, job)
            job = submit(api, resolved, console)
        before, resumed, next_step_at = _next_start(home, api, job, began)
        struck.append(Struck(fault, hit, before, resumed, max(before - resumed, 0), next_step_at - began))
        console.note(f"training again after {struck[-1].seconds:.1f} s, from step {resumed} (it was at {before})")
    return struck, _until_over(api, job)


def _wait_for_steps(home: "RunHome", api: "JobsApi", job: "Job") -> None:
    """Until a checkpoint is behind the run and another step."""
    while True:
        events = _events(home)
        saved = [event.step for event in events if isinstance(event, Checkpoint)]
        steps = [event.step for event in events if isinstance(event, Progress)]
        if saved and steps and steps[-1] > saved[-1]:
            return
        _still_there(api, job)
        time.sleep(POLL_SECONDS / 4)


def _next_start(home: "RunHome", api: "JobsApi", job: "Job", after: float) -> tuple[int, int, float]:
    """The last step before the restart, the step that training went on from, and when its next one was taken."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        events = _events(home)
        start = next((event for event in events if isinstance(event, Start) and event.time > after), None)
        if start is not None:
            steps = [event for event in events if isinstance(event, Progress)]
            again = [event for event in steps if event.time > start.time]
            if again:
                last = max((event.step for event in steps if event.time < start.time), default=0)
                return last, start.step, again[0].time
        _still_there(api, job)
        time.sleep(POLL_SECONDS)
    raise ClusterError(
        f"{home.name} has not gone on within {LONGEST_SECONDS:.0f} s",
        f"`rayox runs logs {home.name}` says what it does",
    )


def _strike(api: "JobsApi", fault: str, job: "Job") -> tuple[str, float]:
    """What was hit, and when."""
    from rayox_cluster import strike
    from rayox_cluster.jobs_api import JobRequest
    from rayox_cluster.packaging import build_zip

    current = api.find(job.submission_id)
    assert current is not None
    name = f"rayox-strike-{secrets.token_hex(4)}"
    files = build_zip({"strike.py": inspect.getsource(strike).encode()})
    words = ["python", "strike.py", fault, job.submission_id, current.node_id]
    api.submit(JobRequest(name, shlex.join(words), {"working_dir": api.upload(files)}, {"rayox_verb": "drill"}))
    ended = _until_over(api, None, name)
    said = [line for line in api.logs(name).splitlines() if line.startswith(strike.STRUCK)]
    if not said:
        last = (api.logs(name).strip() or ended.message).splitlines()[-1]
        raise ClusterError(
            f"the {fault} could not be killed: {last[:200]}", "train.workers on other nodes than the head's"
        )
    hit, at = json.loads(said[-1].removeprefix(strike.STRUCK))
    return str(hit), float(at)


def _until_over(api: "JobsApi", job: "Job | None", name: str = "") -> "Job":
    from rayox_cluster.jobs_api import UnreachableError

    while True:
        try:
            found = api.find(job.submission_id if job else name)
            if found is not None and found.is_over:
                return found
        except UnreachableError:
            pass  # it may be back in a moment
        time.sleep(POLL_SECONDS)


def _still_there(api: "JobsApi", job: "Job") -> None:
    found = api.find(job.submission_id)
    if found is not None and found.is_over:
        raise TrainingError(
            f"the run ended ({found.status.lower()}) before the drill was done: {found.message[-200:]}",
            "give it more steps (train.epochs), or fewer --faults",
        )


def _events(home: "RunHome") -> Sequence[RunEvent]:
    try:
        return home.events.read()
    except OSError:
        return ()
