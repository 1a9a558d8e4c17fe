"""A driver whose trainings are a formula: it can be killed at any of its writes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tune_toys import BASE, campaign, curve

from rayox_platform.runs.journal import Journal, encoded, open_journal, say_nothing
from rayox_platform.runs.journal_file import FileJournal
from rayox_platform.storage.folders import LocalFolder
from rayox_platform.tune.budget import why_no_more
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.moves import Begin, Done, Resume
from rayox_platform.tune.records import Finished, Opened, Paused, Planned, Reported, Started
from rayox_platform.tune.schedule import next_move
from rayox_platform.tune.search import suggest
from rayox_platform.tune.state import State


def drive(folder: str, kill_at: int = 0, tell: Callable[[str], None] = say_nothing) -> State:
    """Begin or go on with the campaign of a folder; kill_at is the number of the write that is this process's last."""
    journal = open_journal(LocalFolder(Path(folder)), "ledger")
    assert isinstance(journal, FileJournal)
    return drive_journal(Dying(journal, kill_at) if kill_at else journal, tell)


class Dying:
    """A journal whose process is killed at a write: of an odd one half is on the disk, of an even one all."""

    def __init__(self, journal: FileJournal, kill_at: int) -> None:
        self._journal, self._left = journal, kill_at
        self.read, self.tail = journal.read, journal.tail
        self._odd = kill_at % 2

    def append(self, record):
        self._left -= 1
        if self._left:
            return self._journal.append(record)
        if self._odd:
            line = encoded(len(self._journal.read()), record)
            self._journal.path.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.path.open("ab") as file:
                file.write(line[: len(line) // 2])
        else:
            self._journal.append(record)
        os.kill(os.getpid(), signal.SIGKILL)


def drive_journal(journal: Journal, tell: Callable[[str], None] = say_nothing) -> State:
    ledger = Ledger(journal, tell)
    if not ledger.state.num_records:
        settings = campaign("promote", trials=4, searcher={"startup": 1}).model_dump(mode="json")
        ledger.tell(Opened(campaign=settings, config=BASE, version="0"))
    ledger.take_over()
    while True:
        state = ledger.state
        match next_move(state, why_no_more(state) is None):
            case Begin(until):
                found, number = suggest(state), len(state.trials)
                planned = Planned(
                    trial=number, values=found.values, seed=0, run=f"t{number}", attributes=found.attributes
                )
                ledger.tell(planned)
            case Resume(number, until):
                pass
            case Done():
                return state
        _train(ledger, number, until)


def _train(ledger: Ledger, number: int, until: int) -> None:
    ledger.tell(Started(trial=number, until=until))
    trial = ledger.state.trials[number]
    for epoch in range(trial.epoch + 1, until + 1):
        ledger.tell(Reported(trial=number, epoch=epoch, metrics={"AP": curve(trial.values)[epoch - 1]}, seconds=1.0))
    over = until >= ledger.state.epochs
    ledger.tell(Finished(trial=number) if over else Paused(trial=number, epoch=until, checkpoint=f"step-{until}"))
