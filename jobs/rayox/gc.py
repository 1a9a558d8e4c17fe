"""`rayox gc`: what of old runs nothing refers to, and how to be rid of it."""

from typing import TYPE_CHECKING

import click

from rayox.terminal.console import Console, json_option

if TYPE_CHECKING:
    from rayox_platform.runs.garbage import Garbage

MEGABYTE = 1e6


@click.command("gc")
@click.option("--delete", is_flag=True, help="Remove what is listed; without it nothing is touched.")
@click.option("--runs", help="The folder or bucket of runs, as of storage=…; by default that of the state folder.")
@json_option
def command(delete: bool, runs: str | None, as_json: bool) -> None:
    """List, and with --delete remove, what nothing refers to in the folder of runs.

    That is: checkpoints cut off by a crash or damaged, those of finished runs that are neither the last nor the best,
    runs that ended before their first step, Ray's notes of finished runs. Runs in training are left alone.
    """
    console = Console(as_json)
    place, found = _found(runs)
    total = sum(one.num_bytes for one in found)
    if delete:
        for one in found:
            one.remove()
    if found:
        rows = [(one.path.removeprefix(f"{place}/"), f"{one.num_bytes / MEGABYTE:.1f}", one.why) for one in found]
        console.table(("path", "MB", "why"), rows)
    told = "removed" if delete else "nothing was removed; --delete does it"
    console.text(f"{len(found)} folders, {total / MEGABYTE:.1f} MB in {place}" + (f": {told}" if found else ""))
    listed = [{"path": one.path, "bytes": one.num_bytes, "why": one.why} for one in found]
    console.result({"found": listed, "bytes": total, "deleted": delete})


def _found(runs: str | None) -> "tuple[str, list[Garbage]]":
    """What was found, and where."""
    from rayox_model.core.errors import ConfigError
    from rayox_platform.runs.bucket_garbage import find_garbage_in_bucket
    from rayox_platform.runs.garbage import find_garbage
    from rayox_platform.runs.places import BucketRuns, FolderRuns, open_runs
    from rayox_platform.storage.errors import storage_errors

    place = open_runs(runs)
    if isinstance(place, BucketRuns):
        with storage_errors(str(place), "read"):
            return str(place), find_garbage_in_bucket(place)
    assert isinstance(place, FolderRuns)
    if runs is not None and not place.folder.is_dir():
        raise ConfigError(f"--runs {runs}: no such folder", "name the folder that `storage` names, or leave it out")
    return str(place), find_garbage(place.folder)
