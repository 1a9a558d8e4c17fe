"""The program of a submitted job, on the cluster: runs the verb there, and resumes a run that has begun.

Its one argument is the folder of the job's files: what `rayox submit` has resolved, and nothing from the node.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rayox.process.surroundings import make_usable
from rayox_cluster.outage_proxy import running
from rayox_model.core.errors import RayoxError

TASK, RECIPE = "job.json", "recipe.yaml"
STOP_SECONDS = 600  # a stopped job has so long to save
OF_A_NODE = ("name", "storage", "tracking.uri", "notify.", "promotion.")  # told by the task, or decide no weight


@dataclass(frozen=True)
class Task:
    """What a job is to do."""

    verb: str
    arguments: tuple[str, ...]
    run: str = ""  # the run that it trains, if it does
    storage: str = ""  # empty: where the state folder has it
    state: str = ""  # RAYOX_STATE of the driver; empty: the node's own, or that of its home
    submission_id: str = ""
    tracking: str = ""
    campaign: str = ""  # that it drives, if it does
    goes_on: bool = False  # an earlier job of the same work did not come to its end
    outage_seconds: float = 0.0  # of a drill: how long an outage of the tracking server lasts, if it is to have some

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def main(folder: str) -> int:
    """Run the task of a folder; the exit code is the verb's."""
    from rayox.cli import main as rayox

    values = json.loads((Path(folder) / TASK).read_text())
    task = Task(**values | {"arguments": tuple(values["arguments"])})
    with suppress(RayoxError):  # which the verb says
        make_usable()
    os.environ["RAYOX_STATE"] = task.state or os.environ.get("RAYOX_STATE") or str(Path.home() / ".rayox")
    os.environ["RAYOX_ADDRESS"] = "auto"
    os.environ["RAYOX_SUBMISSION"] = task.submission_id
    with ExitStack() as stack:
        if task.outage_seconds:
            os.environ.update(stack.enter_context(running(task.outage_seconds)))
        return rayox(_words(task, folder))


def _words(task: Task, folder: str) -> list[str]:
    """The verb's command line; settings that only this process has to know are in its environment."""
    if task.run:
        return _training(task, folder)
    os.environ["RAYOX_TRACKING__URI"] = task.tracking
    if task.storage:
        os.environ["RAYOX_STORAGE"] = task.storage
    return [task.verb, *task.arguments, *(["--resume"] if task.campaign and _is_begun(task) else [])]


def _is_begun(task: Task) -> bool:
    """Whether the campaign has a ledger, whichever cluster's job began it; a storage that is away the verb tells of."""
    from rayox_platform.tune.campaign_home import campaign_home

    try:
        return campaign_home(task.storage or None, task.campaign).is_begun()
    except (OSError, RayoxError):
        return task.goes_on


def _training(task: Task, folder: str) -> list[str]:
    """Begin the run, go on with it, or show it where it is finished, whichever cluster's job has trained it.

    A setting that is another one now goes along as a word, so that --resume takes it or refuses it.
    """
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.state import RESULT
    from rayox_platform.train.changeable import CHANGEABLE

    recipe = str(Path(folder) / RECIPE)
    begin = [task.verb, recipe, *task.arguments]
    try:
        home = open_runs(task.storage).home(task.run)
        chosen = home.checkpoints.choose()
        is_finished = home.shared.has(RESULT)
    except (OSError, RayoxError):  # of a storage that is away the verb tells
        return begin
    if chosen is None:
        return begin
    other = _other_settings(recipe, chosen.facts.config)
    if is_finished and other.keys() <= CHANGEABLE:
        print(f"{task.run} is finished already: nothing is trained; another --name trains it anew", flush=True)
        return ["runs", "show", task.run, f"storage={task.storage}"]
    return [*begin, *(f"{key}={json.dumps(value)}" for key, value in other.items()), "--resume", task.run]


def _other_settings(recipe: str, began: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe that are otherwise than those a run began with; those of the node's own are let be."""
    from rayox.config import RECIPES
    from rayox_platform.config import load_config
    from rayox_platform.config.origin import Rank
    from rayox_platform.config.settings import leaves, settings
    from rayox_platform.config.tree import Config

    try:
        loaded = load_config(recipe, packaged=RECIPES, environ=os.environ)
    except RayoxError:  # of the node's variables, which the verb says
        return {}
    before = dict(leaves(Config.model_validate(began).model_dump(mode="json"), settings()))
    return {
        key: value
        for key, value in leaves(loaded.config.model_dump(mode="json"), settings())
        if key in before
        and before[key] != value
        and loaded.origins[key].rank != Rank.ENV
        and not key.startswith(OF_A_NODE)
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
