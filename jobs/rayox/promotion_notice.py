"""What became of a promotion or rollback, told to whoever the settings name."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rayox.terminal.console import Console
from rayox_model.core.errors import GateError
from rayox_platform.config.tree import Config


@dataclass
class Outcome:
    """Filled in by whoever promotes."""

    name: str
    candidate: str
    status: str  # of one that goes well: promoted or rolled back
    reason: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    predecessor: int | None = None
    error: str | None = None


@contextmanager
def told_of_promotion(config: Config, console: Console, outcome: Outcome) -> Iterator[Outcome]:
    """Tell notify.url and notify.command of a new champion or a refusal; if that fails, it is one line of output."""
    try:
        yield outcome
    except GateError as error:
        outcome.status, outcome.error = "refused", error.message
        _tell(config, console, outcome, error.exit_code)
        raise
    if outcome.model is not None:
        _tell(config, console, outcome, 0)


def _tell(config: Config, console: Console, outcome: Outcome, exit_code: int) -> None:
    if not (config.notify.url or config.notify.command):
        return
    from rayox_platform.track.lineage import user
    from rayox_platform.track.notify import PromotionMessage, notify

    message = PromotionMessage(
        name=outcome.name,
        status=outcome.status,
        exit_code=exit_code,
        model=outcome.model,
        candidate=outcome.candidate,
        predecessor=outcome.predecessor,
        error=outcome.error,
        actor=f"{user()}@{platform.node()}",
        reason=outcome.reason,
        overrides=dict(outcome.overrides),
        host=platform.node(),
    )
    for line in notify(config.notify, message):
        console.note(line)
