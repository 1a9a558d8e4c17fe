"""`rayox demo --cluster`: the demo as a job on a real cluster of three nodes on this machine."""

import os

from rayox.console import Console
from rayox_model.core.errors import TrainingError

NODES = 3


def demo_on_cluster(overrides: tuple[str, ...], console: Console) -> None:
    """Start a cluster, submit the demo's training, follow it, show its run, and end the cluster again.

    A cluster that is up already is used and left up. Raises TrainingError when the job does not succeed.
    """
    from rayox.following import follow_job
    from rayox.resolved import resolve
    from rayox.submit import submit
    from rayox_cluster.access import find_cluster
    from rayox_cluster.cluster_record import read_record
    from rayox_cluster.jobs_api import JobsApi
    from rayox_cluster.local_nodes import down, up
    from rayox_platform.storage.state import state_folder

    state = state_folder()
    before = read_record(state)
    own = before is None or not before.is_alive
    if own:
        up(state, NODES, max((os.cpu_count() or 1) // NODES, 1), console.note)
    try:
        dashboard, record = find_cluster(None, state)
        resolved = resolve(("train", "shapes", "train.workers=2", *overrides), record)
        api = JobsApi(dashboard)
        job = submit(api, resolved, console)
        job = follow_job(api, resolved.name, job.submission_id, resolved.storage, console)
    finally:
        if own:
            console.note("ending the cluster")
            down(state)
    if job.status != "SUCCEEDED":
        raise TrainingError(
            f"{resolved.name}: its job {job.submission_id} ended as {job.status.lower()}",
            f"`rayox runs show {resolved.name}` and `rayox runs logs {resolved.name}` say more",
        )
    _show(resolved.name, resolved.storage, console)


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
