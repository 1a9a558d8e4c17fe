"""What lies in the runs folder and nothing refers to any more: found first, removed only when asked for."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rayox_model.checkpoint.checkpoint_folder import best_checkpoint, newest_checkpoint
from rayox_model.checkpoint.snapshot import DRAFT, verify
from rayox_model.core.errors import ModelError
from rayox_platform.runs.run_lock import holder
from rayox_platform.storage.state import CAMPAIGNS, RESULT

STILLBORN = "a run without a checkpoint: it ended before its first step"
CUT_OFF = "a checkpoint that a crash cut off"
DAMAGED = "a damaged checkpoint, which nothing would load"
SUPERFLUOUS = "a checkpoint of a finished run, neither its last nor its best"
NOTES = "Ray's notes of a finished run"
RAY_FOLDER = "ray"  # Ray Train's own notes of a run, of which rayox reads none


@dataclass(frozen=True)
class Garbage:
    path: str  # or address
    why: str
    num_bytes: int
    remove: Callable[[], None]


def find_garbage(runs: Path) -> list[Garbage]:
    """What nothing refers to in every run that no process is training just now."""
    found = []
    for run in sorted(path for path in runs.glob("*") if path.is_dir() and path.name != CAMPAIGNS):
        if holder(run) is None:
            found += [
                Garbage(str(path), why, size_of(path), partial(shutil.rmtree, path)) for path, why in _of_run(run)
            ]
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _of_run(run: Path) -> Iterator[tuple[Path, str]]:
    checkpoints = run / "checkpoints"
    newest = newest_checkpoint(checkpoints)
    result = run / RESULT
    if newest is None and not result.exists():
        yield run, STILLBORN
        return
    for draft in checkpoints.glob(f"{DRAFT}*"):
        yield draft, CUT_OFF
    kept = {newest, best_checkpoint(checkpoints)} | (_named_by(result) if result.exists() else set())
    for folder in sorted(checkpoints.glob("step-*")):
        if not _is_whole(folder):
            yield folder, DAMAGED
        elif result.exists() and folder not in kept:
            yield folder, SUPERFLUOUS
    if result.exists() and (run / RAY_FOLDER).exists():
        yield run / RAY_FOLDER, NOTES


def _named_by(result: Path) -> set[Path | None]:
    content = json.loads(result.read_text())
    return {Path(content[key]) for key in ("checkpoint", "best_checkpoint") if content[key]}


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except ModelError:
        return False
    return True
