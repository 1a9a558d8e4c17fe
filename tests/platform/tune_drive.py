"""The real driver whose trainings are a formula: it can be killed at any write of its ledger."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tune_toys import CONFIG, campaign, curve

from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.journal import Journal, encoded, say_nothing
from rayox_platform.runs.journal_file import FileJournal
from rayox_platform.storage.folders import LocalFolder
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import CampaignHome
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Confirmed, Ended, Extended, Opened
from rayox_platform.tune.part import Part
from rayox_platform.tune.space_check import with_values

GIVEN = Capacity(
    workers=1, cpus_per_worker=1, threads_per_worker=1, gpu=False, data_cpus=1, fewest_workers=1, cpus_per_data_task=0.5
)
DATA = {"search": {"data.val.annotations": "a.json"}, "confirm": {"data.val.annotations": "b.json"}}
SETTINGS = campaign("promote", trials=4, searcher={"startup": 1}, confirm={"top": 0})


def begun(home: CampaignHome, settings: Campaign | None = None, config: Config = CONFIG) -> Driver:
    """Of a campaign that begins, or goes on."""
    ledger = Ledger(home.journal())
    if not ledger.state.num_records:
        opened = (settings or campaign()).model_dump(mode="json")
        ledger.tell(Opened(campaign=opened, config=config.model_dump(mode="json"), version="0", data=DATA))
    ledger.take_over()
    return Driver(ledger, config, home, given=GIVEN)


def train(driver: Driver, part: Part, score: float = 0.5, identity: str = "", seconds: float = 2.0) -> None:
    """As a process would report it."""
    identity = identity or f"{part.trial}-{part.until}"
    driver.started(identity, part)
    for epoch in range(1, part.until + 1):
        driver.told(identity, {"epoch": epoch, "metrics": {"AP": score, "loss": 1.0}, "seconds": seconds})
    driver.told(identity, {"until": part.until, "checkpoint": f"step-{part.until}"})
    driver.left(identity)


def fail(driver: Driver, part: Part, why: str = "out of memory") -> None:
    driver.started(str(part.trial), part)
    driver.told(str(part.trial), {"failed": why, "code": "training"})
    driver.left(str(part.trial))


def drive(
    folder: str | Path,
    settings: Campaign = SETTINGS,
    *,
    more: int = 0,
    kill_at: int = 0,
    last_words: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = say_nothing,
) -> State:
    """Begin or go on with the campaign of a folder, confirm it, extend it by `more` trials, and end it.

    kill_at is the number of the write that is this process's last; last_words is called right before it.
    """
    home = CampaignHome("c", LocalFolder(Path(folder)), str(Path(folder) / "runs"))
    journal = home.journal(tell)
    assert isinstance(journal, FileJournal)
    return drive_journal(home, Dying(journal, kill_at, last_words) if kill_at else journal, settings, more, tell)


class Dying:
    """A journal whose process is killed at a write: of an odd one half is on the disk, of an even one all."""

    def __init__(self, journal: FileJournal, kill_at: int, last_words: Callable[[], None]) -> None:
        self._journal, self._left, self._last_words = journal, kill_at, last_words
        self.read, self.tail = journal.read, journal.tail
        self._odd = kill_at % 2

    def append(self, record):
        self._left -= 1
        if self._left:
            return self._journal.append(record)
        self._last_words()
        if self._odd:
            line = encoded(len(self._journal.read()), record)
            self._journal.path.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.path.open("ab") as file:
                file.write(line[: len(line) // 2])
        else:
            self._journal.append(record)
        os.kill(os.getpid(), signal.SIGKILL)


def drive_journal(
    home: CampaignHome,
    journal: Journal,
    settings: Campaign = SETTINGS,
    more: int = 0,
    tell: Callable[[str], None] = say_nothing,
) -> State:
    settings, config = settings.model_copy(update={"name": home.name}), with_values(CONFIG, {"storage": home.storage})
    ledger = Ledger(journal, tell)
    if not ledger.state.num_records:
        opened = settings.model_dump(mode="json")
        ledger.tell(Opened(campaign=opened, config=config.model_dump(mode="json"), version="0", data=DATA))
    ledger.take_over()
    while True:
        state, driver = ledger.state, Driver(ledger, config, home, given=GIVEN)
        while (part := driver.next_part()) is not None:
            train_by_formula(driver, part)
        assert driver.over
        if settings.confirm.top and state.confirmed is None:
            result = {"sentence": "nothing to gain", "winner": None, "compared": []}
            ledger.tell(Confirmed(result=result))
        elif more and state.campaign.budget.trials == settings.budget.trials:
            ledger.tell(Extended(budget={"trials": settings.budget.trials + more}))
        else:
            ledger.tell(Ended(status="finished", why=driver.over))
            return state


def train_by_formula(driver: Driver, part: Part) -> None:
    """From the epochs that the ledger has: its exact checkpoints go that far, or further."""
    identity = f"{part.trial}-{part.until}"
    driver.started(identity, part)
    values = driver.state.trials[part.trial].values
    for epoch in range(driver.state.trials[part.trial].epoch + 1, part.until + 1):
        driver.told(identity, {"epoch": epoch, "metrics": {"AP": curve(values)[epoch - 1]}, "seconds": 1.0})
    driver.told(identity, {"until": part.until, "checkpoint": f"step-{part.until}"})
    driver.left(identity)
