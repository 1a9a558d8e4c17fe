"""Where the runs are that `rayox runs` is asked for: a submitted one where it was sent, others where `storage` says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from rayox.config import load_recipe
from rayox.terminal.console import Console
from rayox_model.core.errors import RayoxError

if TYPE_CHECKING:
    from rayox.jobs.job_register import Submitted
    from rayox_platform.runs.home import RunHome
    from rayox_platform.runs.overview import Run
    from rayox_platform.runs.places import Runs

OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@contextmanager
def opened(overrides: tuple[str, ...], name: str | None = None) -> "Iterator[Runs]":
    """Where the runs are, of a submitted one where it was sent; a store that cannot be read is the setting's fault."""
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.errors import storage_errors

    job = job_named(name, overrides) if name else None
    runs = open_runs(job.storage if job else load_recipe(None, overrides).config.storage)
    with storage_errors(str(runs), "read"):
        yield runs


def found_home(name: str, overrides: tuple[str, ...]) -> "RunHome":
    """Raises ConfigError when there is no such run."""
    from rayox_platform.runs.overview import find_run

    with opened(overrides, name) as place:
        return find_run(place, name)


def job_named(name: str, overrides: tuple[str, ...]) -> "Submitted | None":
    """What was submitted from here by this name, to the place of storage=… if that is given, else last.

    None where storage=… names a place that nothing of this name was sent to.
    """
    from rayox.jobs.job_register import submitted

    jobs = submitted(name)
    if any(word.startswith("storage=") for word in overrides):
        storage = load_recipe(None, overrides).config.storage
        jobs = [job for job in jobs if storage and same_place(storage, job.storage)]
    return jobs[0] if jobs else None


def asked_for(name: str, overrides: tuple[str, ...], as_json: bool) -> "tuple[Console, Submitted | None]":
    """As job_named, and the verb's console, on which it is said if the name was given to more than one."""
    from rayox.jobs.job_register import submitted

    console, job = Console(as_json), job_named(name, overrides)
    others = [one.storage for one in submitted(name) if job and not same_place(one.storage, job.storage)]
    if job and others and not overrides:
        console.note(
            f"{name} in {job.storage} is meant; there is one in {', '.join(others)} too: storage={others[0]} names it"
        )
    return console, job


def same_place(one: str, other: str) -> bool:
    """Whether two values of `storage` are the same, however they are written."""
    return _in_full(one) == _in_full(other)


def run_of_job(job: "Submitted") -> "Run | None":
    """The run that a job trains, as far as this machine sees it."""
    from rayox_platform.runs.overview import read_run

    home = home_of_job(job)
    try:
        return None if home is None else read_run(home)
    except (OSError, RayoxError):
        return None


def home_of_job(job: "Submitted") -> "RunHome | None":
    from rayox_platform.runs.places import open_runs

    if job.verb != "train":
        return None
    try:
        home = open_runs(job.storage).home(job.run)
        return home if home.is_begun() else None
    except (OSError, RayoxError):
        return None


def why_not_seen(job: "Submitted") -> str:
    """Why there is no run of a job: what is wrong with its storage, or that it has none."""
    from rayox_platform.runs.places import open_runs

    try:
        open_runs(job.storage).home(job.run).is_begun()
    except (OSError, RayoxError) as error:
        return f"cannot be read from here: {error}"
    return "has no such run, seen from here"


def _in_full(storage: str) -> str:
    from rayox_platform.storage.folders import is_remote
    from rayox_platform.storage.state import runs_folder

    return storage.rstrip("/") if is_remote(storage) else str(runs_folder(storage))
