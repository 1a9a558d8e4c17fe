"""The runs of a folder as their files tell them, whoever trains them; reads only, and needs neither Ray nor MLflow."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rayox_model.errors import ConfigError
from rayox_platform.claim import holder
from rayox_platform.entries import Status
from rayox_platform.events import FILE, read_events
from rayox_platform.spool import num_unsent, spooled
from rayox_platform.state import RESULT

State = Literal["running", "finished", "failed", "interrupted", "dead"]
SAID: dict[str, State] = {"FAILED": "failed", "KILLED": "interrupted"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a run stands. dead: its driver is gone and has not said why."""

    name: str
    state: State
    step: int
    num_steps: int | None
    epoch: int  # finished ones
    epochs: int | None
    metrics: Mapping[str, float]  # of the last evaluation
    began: float | None
    last: float  # when it last said something
    restarts: int
    holder: str | None  # the process that trains it
    checkpoint: str | None  # the newest one written
    unsent: int  # entries that MLflow has not got
    result: Mapping[str, Any]  # of a finished run
    folder: str


def list_runs(folder: Path) -> list[Run]:
    """Every run of a folder, the one that spoke last first; empty when there is no such folder."""
    found = [read_run(path) for path in sorted(folder.iterdir()) if _is_run(path)] if folder.is_dir() else []
    return sorted(found, key=lambda run: -run.last)


def find_run(folder: Path, name: str) -> Path:
    """The folder of a run. Raises ConfigError."""
    path = folder / name
    if _is_run(path):
        return path
    names = ", ".join(run.name for run in list_runs(folder)[:8]) if folder.is_dir() else ""
    raise ConfigError(
        f"{name}: no such run in {folder}", f"there are: {names}" if names else "storage=… names another folder"
    )


def read_run(path: Path) -> Run:
    """What the files of one run say."""
    events = read_events(path)
    started = [event for event in events if event["kind"] == "start"]
    epochs = [event for event in events if event["kind"] == "epoch"]
    saved = [event for event in events if event["kind"] == "checkpoint"]
    scored = [event["metrics"] for event in epochs if "AP" in event["metrics"]]
    held_by, result = holder(path), read_result(path)
    return Run(
        name=path.name,
        state=_state(path, held_by, result),
        step=next((event["step"] for event in reversed(events) if "step" in event), 0),
        num_steps=started[-1].get("num_steps") if started else None,
        epoch=max((event["epoch"] for event in epochs), default=0),
        epochs=started[-1].get("epochs") if started else None,
        metrics=_scores(scored[-1]) if scored else {},
        began=events[0]["time"] if events else None,
        last=events[-1]["time"] if events else path.stat().st_mtime,
        restarts=max(len(started) - 1, 0),
        holder=held_by,
        checkpoint=saved[-1]["path"] if saved else None,
        unsent=num_unsent(path),
        result=result,
        folder=str(path),
    )


def read_result(path: Path) -> Mapping[str, Any]:
    """The result of a finished run; empty of any other."""
    try:
        result: Mapping[str, Any] = json.loads((path / RESULT).read_text())
    except (OSError, ValueError):
        return {}
    return result


def is_over(path: Path) -> bool:
    """Nobody trains this run now."""
    return holder(path) is None


def event_line(event: Mapping[str, Any]) -> str:
    """An event as one line for a log: when, what, and its numbers."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    metrics = event.get("metrics", {})
    fields = {name: value for name, value in {**event, **metrics}.items() if name not in ("kind", "time", "metrics")}
    return "  ".join([at, f"{event['kind']:10}", *(f"{name}={_short(value)}" for name, value in fields.items())])


def _state(path: Path, held_by: str | None, result: Mapping[str, Any]) -> State:
    if result:
        return "finished"
    if held_by:
        return "running"
    said = [entry.status for entry in spooled(path) if isinstance(entry, Status)]
    return SAID.get(said[-1], "dead") if said else "dead"


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in (FILE, "checkpoints", RESULT))


def _scores(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name[:2] in ("AP", "AR")}


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value)}: {value[-1]}" if value else "none"
    return str(value)
