"""Trials that fail, drivers that are killed and records that are torn, in any order: a campaign ends all the same."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from test_tune_schedule import ALL
from tune_drive import DATA, GIVEN
from tune_toys import CONFIG, campaign, curve

from rayox_platform.storage.folders import LocalFolder
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import CampaignHome
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.ledger import Ledger, read_state
from rayox_platform.tune.ledger_records import Opened
from rayox_platform.tune.part import Part
from rayox_platform.tune.space_check import with_values

TURNS, KILLS = 3000, 12


class Storm:
    """A campaign whose parts come on an epoch at a time, whichever the dice say; its runs outlive its drivers."""

    def __init__(self, folder: Path, settings: Campaign, seed: int) -> None:
        self.home = CampaignHome(settings.name, LocalFolder(folder), str(folder / "runs"))
        self.config = with_values(CONFIG, {"storage": self.home.storage})
        self.dice, self.settings, self.slots = random.Random(seed), settings, seed % 3 + 1
        self.trained: dict[str, int] = {}  # epochs that each run's checkpoints have
        self.kills = 0

    def driver(self) -> Driver:
        ledger = Ledger(self.home.journal())
        if not ledger.state.num_records:
            opened = self.settings.model_dump(mode="json")
            ledger.tell(Opened(campaign=opened, config=self.config.model_dump(mode="json"), version="0", data=DATA))
        ledger.take_over()
        return Driver(ledger, self.config, self.home, given=GIVEN, at_a_time=self.slots)

    def weather(self) -> State:
        driver, running = self.driver(), dict[str, Part]()
        for turn in range(TURNS):
            if self.kills < KILLS and self.dice.random() < 0.05:
                self._kill(driver.state)
                driver, running = self.driver(), {}
            part = driver.next_part() if len(running) < self.slots and self.dice.random() < 0.7 else None
            if part:
                assert part.trial not in {other.trial for other in running.values()}
                driver.started(str(turn), part)
                running[str(turn)] = part
            elif not running and driver.over:
                return driver.state
            elif running:
                identity = self.dice.choice(sorted(running))
                if self._is_over(driver, identity, running[identity]):
                    del running[identity]
                    driver.left(identity, "its process died")
        raise AssertionError(f"it never ends: {[(one.state, one.epoch) for one in driver.state.trials]}")

    def _kill(self, state: State) -> None:
        """A driver that has told all or, now and then, only a part of its last record."""
        self.kills += 1
        assert facts(read_state(self.home.journal())) == facts(state), "the ledger has what its driver had"
        path = Path(str(self.home.shared)) / "ledger.jsonl"
        content = path.read_bytes()
        if self.dice.random() < 0.3:
            last = len(content.splitlines(keepends=True)[-1])
            path.write_bytes(content[: -self.dice.randint(1, last)])

    def _is_over(self, driver: Driver, identity: str, part: Part) -> bool:
        """Train an epoch, and tell of it and of what was trained before and not heard of; whether the part is over."""
        trial = driver.state.trials[part.trial]
        done = self.trained.setdefault(trial.run, trial.exploits[-1].epoch if part.fork else 0)
        assert done >= trial.epoch, "no epoch is trained twice"
        if done < part.until and self.dice.random() < 0.03:
            return True
        self.trained[trial.run] = done = max(done, min(done + 1, part.until))
        for epoch in range(1, done + 1):
            if epoch not in trial.reports:
                driver.told(identity, {"epoch": epoch, "metrics": {"AP": score(trial, epoch)}, "seconds": 1.0})
        if done >= part.until:
            driver.told(identity, {"until": done, "checkpoint": f"step-{done}", "weighed": {}})
        return done >= part.until


def score(trial: Trial, epoch: int) -> float:
    return curve(trial.values)[epoch - 1]


def facts(state: State) -> State:
    return replace(state, expected=None, driven_seconds=round(state.driven_seconds, 6))


@pytest.mark.parametrize("search", ["random", "tpe"])
@pytest.mark.parametrize("kind", ALL)
def test_a_campaign_in_a_storm_comes_to_its_end(tmp_path, kind, search):
    killed = 0
    for seed in range(4):
        confirm = {"top": seed % 3, "seeds": 2}
        settings = campaign(kind, search, trials=7, seed=seed, searcher={"startup": 3}, confirm=confirm)
        storm = Storm(tmp_path / str(seed), settings, seed)
        state = storm.weather()
        killed += storm.kills
        assert not any(trial.state in ("running", "planned") for trial in state.trials)
        assert state.epochs_trained == sum(len(trial.reports) for trial in state.trials)
        alive = [trial for trial in state.search if trial.state not in ("failed", "pruned")]
        assert not alive or any(trial.state == "finished" for trial in alive)
        if confirm["top"] and alive:
            again = {(trial.of, trial.seed) for trial in state.trials if trial.phase == "confirm"}
            assert len(again) == len([one for one in state.trials if one.phase == "confirm"])
    assert killed > 5
