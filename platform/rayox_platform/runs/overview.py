"""The runs of a folder or bucket as their files tell them, whoever trains them; only read, without Ray or MLflow."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.ending import End, read_end
from rayox_platform.runs.event_kinds import EVENTS, Checkpoint, Epoch, RunEvent, Start, StepEvent
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.outbox import num_unsent, read_target, written_entries
from rayox_platform.runs.outbox_entries import Status
from rayox_platform.runs.places import Runs
from rayox_platform.storage.state import RESULT

State = Literal["running", "paused", "finished", "failed", "interrupted", "dead"]
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
    unsent: int | None  # entries that MLflow does not have; None when only its driver's machine knows
    result: Mapping[str, Any]  # of a finished run
    reason: str | None = None  # why it failed or was interrupted
    exit_code: int | None = None  # that its driver ended with then
    folder: str  # or address


def list_runs(runs: Runs) -> list[Run]:
    """Every run, the most recently active first; empty when there is no such folder. Raises OSError."""
    homes = [runs.home(name) for name in runs.names()]
    return sorted([read_run(home) for home in homes if home.is_begun()], key=lambda run: -run.last)


def find_run(runs: Runs, name: str) -> RunHome:
    """Where a run is kept. Raises ConfigError and OSError."""
    home = runs.home(name)
    if home.is_begun():
        return home
    names = ", ".join(run.name for run in list_runs(runs)[:8])
    raise ConfigError(
        f"{name}: no such run in {runs}", f"there are: {names}" if names else "storage=… names another folder"
    )


def read_run(home: RunHome) -> Run:
    """What the files of one run say. Raises OSError."""
    events = home.events.read()
    started = [event for event in events if isinstance(event, Start)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    saved = [event for event in events if isinstance(event, Checkpoint)]
    scored = [event.metrics for event in epochs if "AP" in event.metrics]
    held_by, result = home.holder(), read_result(home)
    end = None if result or held_by else read_end(home)
    return Run(
        name=home.name,
        state=_state(home, held_by, result, end),
        step=next((event.step for event in reversed(events) if isinstance(event, StepEvent)), 0),
        num_steps=started[-1].num_steps if started else None,
        epoch=max((event.epoch for event in epochs), default=0),
        epochs=started[-1].epochs if started else None,
        metrics=_scores(scored[-1]) if scored else {},
        began=events[0].time if events else None,
        last=events[-1].time if events else home.changed_at(),
        restarts=max(len(started) - 1, 0),
        holder=held_by,
        checkpoint=saved[-1].path if saved else None,
        unsent=_unsent(home, is_over=not held_by),
        result=result,
        reason=end.reason if end else None,
        exit_code=end.exit_code if end else None,
        folder=str(home),
    )


def read_result(home: RunHome) -> Mapping[str, Any]:
    """The result of a finished run; empty of any other. Raises OSError of a store that is away."""
    try:
        result: Mapping[str, Any] = json.loads(home.shared.read(RESULT))
    except (FileNotFoundError, ValueError):
        return {}
    return result


class Held(Protocol):
    """What one process at a time works on."""

    def holder(self) -> str | None: ...


def is_over(home: Held) -> bool:
    """Nobody works on this run or campaign now, as far as can be seen."""
    try:
        return home.holder() is None
    except OSError:
        return False


def event_line(event: RunEvent) -> str:
    """An event as one line for a log: when, what, and its numbers."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    numbers = vars(event) | (dict(event.metrics) if isinstance(event, Epoch) else {})
    fields = {name: value for name, value in numbers.items() if name not in ("time", "metrics") and value is not None}
    return "  ".join([at, f"{EVENTS.tag(event):10}", *(f"{name}={_short(value)}" for name, value in fields.items())])


def _state(home: RunHome, held_by: str | None, result: Mapping[str, Any], end: End | None) -> State:
    if result:
        return "finished"
    if held_by:
        return "running"
    if end:
        return end.status
    said = [entry.status for entry in written_entries(home.folder) if isinstance(entry, Status)]
    return SAID.get(said[-1], "dead") if said else "dead"


def _unsent(home: RunHome, is_over: bool) -> int | None:
    """The end of a run that is over and still running for MLflow is one more."""
    elsewhere = str(home.folder) != str(home) and read_target(home.folder) is None
    if elsewhere:
        return None
    said = [entry.status for entry in written_entries(home.folder) if isinstance(entry, Status)]
    return num_unsent(home.folder) + bool(is_over and said and said[-1] == "RUNNING")


def _scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """COCO's numbers; earlier versions wrote −1 where there was nothing to find."""
    return {name: value for name, value in metrics.items() if name[:2] in ("AP", "AR") and value >= 0}


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"{len(value)}: {value[-1]}" if value else "none"
    return str(value)
