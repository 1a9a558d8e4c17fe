"""How a training ended, told to whoever the settings name."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rayox.terminal.console import Console
from rayox_model.core.errors import RayoxError
from rayox_model.core.secrets import without_secrets
from rayox_platform.config.tree import Config

if TYPE_CHECKING:
    from rayox_platform.runs.home import RunHome
    from rayox_platform.train.finishing import Finished

INTERRUPTED = 130


@dataclass
class End:
    """How a run ends: well, unless something else is noted."""

    finished: "Finished | None" = None
    status: str = "finished"
    exit_code: int = 0
    error: str | None = None
    began: float = field(default_factory=time.time)

    def note(self, error: BaseException) -> None:
        match error:
            case KeyboardInterrupt():
                self.status, self.exit_code, self.error = "interrupted", INTERRUPTED, "interrupted"
            case RayoxError():
                self.status, self.exit_code, self.error = "failed", error.exit_code, error.message
            case _:
                text = without_secrets(f"internal error: {type(error).__name__}: {error}")
                self.status, self.exit_code, self.error = "failed", 1, text


@contextmanager
def told_of_end(config: Config, home: "RunHome", console: Console) -> Iterator[End]:
    """Tell notify.url and notify.command how the with block ends; if that fails, it is one line of output, no more."""
    end = End()
    try:
        yield end
    except BaseException as error:
        end.note(error)
        raise
    finally:
        if config.notify.url or config.notify.command:
            _tell(config, home, console, end)


def after_a_stop(home: "RunHome") -> str:
    """What a user who has stopped a run can do, which depends on what it has kept."""
    again = f"the same command with --resume {home.name} goes on from the newest checkpoint"
    try:
        if home.checkpoints.newest() is None:
            return f"stopped before {home.name} had a checkpoint; the same command begins it again"
    except OSError:
        return f"stopped; {home} cannot be read now; if the run has a checkpoint, {again}"
    return f"stopped; {again}"


def _tell(config: Config, home: "RunHome", console: Console, end: End) -> None:
    from rayox_platform.track.notify import Message, notify

    newest, finished = None, end.finished
    with suppress(OSError):  # the store is away, which may be why it ends
        newest = home.checkpoints.newest()
    message = Message(
        run=config.name,
        status=end.status,
        exit_code=end.exit_code,
        metrics=finished.metrics if finished else {},
        error=end.error,
        checkpoint=home.checkpoints.address(newest) if newest else None,
        model=(finished.registered or None) if finished else None,
        run_id=finished.run_id if finished else None,
        host=platform.node(),
        seconds=round(time.time() - end.began, 1),
    )
    for line in notify(config.notify, message):
        console.note(line)
