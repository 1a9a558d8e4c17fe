"""`rayox demo --cluster`: the demo as jobs on a real cluster of three nodes on this machine."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayox.terminal.console import Console
from rayox_model.core.errors import GateError, TrainingError

if TYPE_CHECKING:
    from rayox_cluster.cluster_record import ClusterRecord
    from rayox_cluster.jobs_api import Job

NODES = 3
KEY = "RAYOX_PROMOTION__KEY"
OF_PROMOTION = ("storage=", "tracking.", "promotion.")


def demo_on_cluster(overrides: tuple[str, ...], console: Console) -> None:
    """Start a cluster, submit the demo's training, follow it, promote its model, and end the cluster again.

    A cluster that is up already is used and left up. Raises TrainingError when a job does not succeed.
    """
    from rayox_cluster.access import find_cluster
    from rayox_cluster.cluster_record import read_record
    from rayox_cluster.local_nodes import down, up
    from rayox_platform.storage.state import state_folder

    state = state_folder()
    before = read_record(state)
    own = before is None or not before.is_alive
    if own:
        up(state, NODES, max((os.cpu_count() or 1) // NODES, 1), console.note)
    try:
        dashboard, record = find_cluster(None, state)
        name, storage = _train(dashboard, record, overrides, console)
        result = _result(name, storage)
        crowned = _crown(dashboard, record, result.get("registered"), overrides, console)
    finally:
        if own:
            console.note("ending the cluster")
            down(state)
    _show(name, storage, console)
    if crowned:
        model = str(result["registered"]).split("/")[1]
        console.note(f"next        rayox predict models:/{model}@champion PHOTOS -o found; rayox models list")


def _train(
    dashboard: str, record: "ClusterRecord | None", overrides: tuple[str, ...], console: Console
) -> tuple[str, str]:
    """The run's name and storage."""
    job, name, storage = _followed(dashboard, record, ("train", "shapes", "train.workers=2", *overrides), console)
    if job.status != "SUCCEEDED":
        raise TrainingError(
            f"{name}: its job {job.submission_id} ended as {job.status.lower()}",
            f"`rayox runs show {name}` and `rayox runs logs {name}` say more",
        )
    return name, storage


def _crown(
    dashboard: str, record: "ClusterRecord | None", model: Any, overrides: tuple[str, ...], console: Console
) -> bool:
    """Through the gate, as a job; a detector that does not beat the champion leaves the run as it is."""
    from rayox_platform.promote.signing import make_demo_key
    from rayox_platform.storage.state import state_folder

    if not model:  # the tracking server has gone away in between; the run's result says what to do
        return False
    kept = [word for word in overrides if word.startswith(OF_PROMOTION)]
    has_key = KEY in os.environ or any(word.startswith("promotion.key=") for word in kept)
    if not has_key:  # with the demo key a server's champions are signed only where it is named
        private, public = make_demo_key(state_folder())
        kept += [f"promotion.key={private}", f"promotion.trusted_keys={json.dumps([str(public)])}"]
    words = ("promote", model, "--to", model.split("/")[1], "--reason", "rayox demo", *kept)
    job, name, _ = _followed(dashboard, record, words, console)
    if job.status != "SUCCEEDED" and job.exit_code != GateError.exit_code:
        raise TrainingError(
            f"{model} was not promoted: its job {job.submission_id} ended as {job.status.lower()}",
            f"`rayox runs logs {name}` says more",
        )
    if job.status != "SUCCEEDED":
        console.note(f"the champion of {model.split('/')[1]} stays")
    return job.status == "SUCCEEDED"


def _followed(
    dashboard: str, record: "ClusterRecord | None", words: tuple[str, ...], console: Console
) -> tuple["Job", str, str]:
    """The job of a verb once it is over, the name of its run and its storage."""
    from rayox.jobs.following import follow_job
    from rayox.submission.resolved import resolve
    from rayox.submit import submit
    from rayox_cluster.jobs_api import JobsApi

    api, resolved = JobsApi(dashboard), resolve(words, record)
    job = submit(api, resolved, console)
    job = follow_job(api, resolved.name, job.submission_id, resolved.storage, console)
    return job, resolved.name, resolved.storage


def _result(name: str, storage: str) -> Mapping[str, Any]:
    from rayox_platform.runs.overview import find_run, read_run
    from rayox_platform.runs.places import open_runs

    return read_run(find_run(open_runs(storage), name)).result


def _show(name: str, storage: str, console: Console) -> None:
    from rayox_platform.runs.overview import find_run, read_run
    from rayox_platform.runs.places import open_runs

    run = read_run(find_run(open_runs(storage), name))
    rows = [(metric, None if value < 0 else value) for metric, value in run.metrics.items()]
    console.table(("metric", "value"), rows)
    console.text(f"run         {name} in {run.folder}")
    console.text(f"model       {run.result.get('registered') or 'not registered yet'}")
    console.text("next        rayox runs list; rayox models list; rayox cluster up")
    console.result(dict(run.result))
