"""The program of a submitted job, on the cluster: runs the verb there, and resumes a run that has begun.

Its one argument is the folder of the job's files: what `rayox submit` has resolved, and nothing from the node.
"""

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rayox_cluster.outage_proxy import running
from rayox_model.core.errors import RayoxError

TASK, RECIPE = "job.json", "recipe.yaml"


@dataclass(frozen=True)
class Task:
    """What a job is to do."""

    verb: str
    arguments: tuple[str, ...]
    run: str = ""  # the run that it trains, if it does
    storage: str = ""  # empty: where the state folder has it
    state: str = ""  # RAYOX_STATE of the driver; of a node's own home when it is empty
    submission_id: str = ""
    tracking: str = ""
    goes_on: bool = False  # an earlier job of the same work did not come to its end
    outage_seconds: float = 0.0  # of a drill: how long an outage of the tracking server lasts, if it is to have some

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def main(folder: str) -> int:
    """Run the task of a folder; the exit code is the verb's."""
    from rayox.cli import main as rayox

    values = json.loads((Path(folder) / TASK).read_text())
    task = Task(**values | {"arguments": tuple(values["arguments"])})
    os.environ["RAYOX_STATE"] = task.state or str(Path.home() / ".rayox")
    os.environ["RAYOX_ADDRESS"] = "auto"
    os.environ["RAYOX_SUBMISSION"] = task.submission_id
    with ExitStack() as stack:
        if task.outage_seconds:
            os.environ.update(stack.enter_context(running(task.outage_seconds)))
        return rayox(_words(task, folder))


def _words(task: Task, folder: str) -> list[str]:
    """The verb's command line; settings that only this process has to know are in its environment."""
    if not task.run:
        os.environ["RAYOX_TRACKING__URI"] = task.tracking
        if task.storage:
            os.environ["RAYOX_STORAGE"] = task.storage
        more = ["--resume"] if task.verb == "tune" and task.goes_on else []
        return [task.verb, *task.arguments, *more]
    recipe = str(Path(folder) / RECIPE)
    return [task.verb, recipe, *task.arguments, *(["--resume", task.run] if has_begun(task) else [])]


def has_begun(task: Task) -> bool:
    """Whether an earlier job has left a checkpoint of the run; a storage that is away is told by the verb."""
    from rayox_platform.runs.places import open_runs

    try:
        return open_runs(task.storage).home(task.run).checkpoints.newest() is not None
    except (OSError, RayoxError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
