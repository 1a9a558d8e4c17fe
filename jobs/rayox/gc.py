"""`rayox gc`: what of old runs nothing refers to, and how to be rid of it."""

from pathlib import Path

import click

from rayox.console import Console, json_option

MEGABYTE = 1e6


@click.command("gc")
@click.option("--delete", is_flag=True, help="Remove what is listed; without it nothing is touched.")
@click.option("--runs", type=click.Path(path_type=Path), help="The runs folder; by default that of the state folder.")
@json_option
def command(delete: bool, runs: Path | None, as_json: bool) -> None:
    """List, and with --delete remove, what nothing refers to in the folder of runs.

    That is: checkpoints cut off by a crash or damaged, those of finished runs that are neither the last nor the best,
    runs that ended before their first step, Ray's notes of finished runs. Runs in training are left alone.
    """
    from rayox_model.errors import ConfigError
    from rayox_platform.garbage import find_garbage, remove
    from rayox_platform.state import state_folder

    console = Console(as_json)
    folder = runs or state_folder() / "runs"
    if runs is not None and not folder.is_dir():
        raise ConfigError(f"--runs {folder}: no such folder", "name the folder that `storage` names, or leave it out")
    found = find_garbage(folder)
    total = sum(one.num_bytes for one in found)
    if delete:
        remove(found)
    if found:
        rows = [(str(one.path.relative_to(folder)), f"{one.num_bytes / MEGABYTE:.1f}", one.why) for one in found]
        console.table(("path", "MB", "why"), rows)
    told = "removed" if delete else "nothing was removed; --delete does it"
    console.text(f"{len(found)} folders, {total / MEGABYTE:.1f} MB in {folder}" + (f": {told}" if found else ""))
    listed = [{"path": str(one.path), "bytes": one.num_bytes, "why": one.why} for one in found]
    console.result({"found": listed, "bytes": total, "deleted": delete})
