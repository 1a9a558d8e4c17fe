"""A campaign's ledger: the journal of its records, and the state they add up to."""

import os
import platform
import time
from collections.abc import Callable

from rayox_platform.runs.journal import Journal, say_nothing
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Driven, Event, from_record, to_record

NAME = "ledger"


class Ledger:
    """Written by one driver at a time; what tell returns from is on the storage and in the state."""

    def __init__(self, journal: Journal, tell: Callable[[str], None] = say_nothing) -> None:
        self._journal = journal
        self.state = read_state(journal, tell)

    def tell(self, event: Event) -> None:
        """Keep what happened. Raises OSError when the storage does not take it."""
        now = time.time()
        self._journal.append(to_record(event, now))
        self.state.apply(event, now)

    def take_over(self) -> None:
        """Say that this process drives the campaign from now on: what ran before is owed."""
        submission = os.environ.get("RAYOX_SUBMISSION", "")
        self.tell(Driven(host=platform.node(), pid=os.getpid(), submission=submission))


def read_state(journal: Journal, tell: Callable[[str], None] = say_nothing, *, records: int | None = None) -> State:
    """What a ledger, or its first records, adds up to, for anyone who looks. Raises OSError and DataError."""
    state = State()
    for number, record in enumerate(journal.read(tell)[:records]):
        event, at = from_record(record, f"{journal}:{number + 1}")
        state.apply(event, at)
    return state
