"""A campaign driven to its end: each move of the schedule becomes a part of a trial, each of its words a record."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rayox_model.core.errors import TrainingError
from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.storage.state import state_folder
from rayox_platform.tune.budget import out_of_time, why_no_more
from rayox_platform.tune.confirmation import confirm_move
from rayox_platform.tune.home import CampaignHome
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.moves import Begin, Done, Exploit, Move, Prune, Resume, Wait
from rayox_platform.tune.part import Part
from rayox_platform.tune.records import Exploited, Failed, Finished, Paused, Planned, Pruned, Reported, Started
from rayox_platform.tune.schedule import next_move
from rayox_platform.tune.search import suggest
from rayox_platform.tune.space_check import with_values
from rayox_platform.tune.state import State, Trial
from rayox_platform.tune.weight import WEIGHTS

STOPPED = "stopped by `rayox tune stop`"
LOOK_SECONDS = 2.0
ALL_FAIL = 3  # first trials that fail without an epoch: then it is not the trials' fault


@dataclass
class Driver:
    ledger: Ledger
    base: Config  # of trials, with the storage named in full
    home: CampaignHome
    earlier: State | None = None  # of another campaign that the searcher learns from
    show: Callable[[State], None] = lambda state: None
    given: Capacity | None = None  # what each trial gets, once the campaign is planned
    over: str = ""  # why nothing more begins, once that is so
    looks_at: float = 0.0  # when to look for a stop again
    running: dict[str, int] = field(default_factory=dict)  # by the id that Ray Tune gives a part

    @property
    def state(self) -> State:
        return self.ledger.state

    def next_part(self) -> Part | None:
        """What to train next; None when there is nothing now, and over says whether there ever will be."""
        while True:
            move = self._move()
            match move:
                case Wait():
                    return None
                case Done():
                    self.over = self.over or why_no_more(self.state) or "the search is done"
                    return None
                case Begin(until):
                    self._plan()
                    number = len(self.state.trials) - 1
                case Resume(number, until):
                    pass
                case Prune(number, why):
                    self.ledger.tell(Pruned(trial=number, why=why))
                    continue
                case Exploit():
                    self._exploit(move)
                    continue
                case Planned():
                    self.ledger.tell(move)
                    continue
            part = self._part(self.state.trials[number], until)
            if part:
                self.ledger.tell(Started(trial=number, until=until, gpus=part.given.gpus))
                self.show(self.state)
                return part

    def _move(self) -> Move | Planned:
        why = STOPPED if self._is_asked_to_stop() else out_of_time(self.state)
        if why or self.over:
            self.over = self.over or why or ""
            return Done()
        move = next_move(self.state, why_no_more(self.state) is None)
        return confirm_move(self.state) if isinstance(move, Done) else move

    def _is_asked_to_stop(self) -> bool:
        """Looked at now and then: in a bucket each look is a request."""
        now = time.monotonic()
        if now < self.looks_at:
            return False
        self.looks_at = now + LOOK_SECONDS
        return self.home.is_asked_to_stop()

    def _plan(self) -> None:
        number = len(self.state.trials)
        found = suggest(self.state, self.earlier)
        run = f"{self.state.campaign.name}-{number:03d}"
        seed = self.base.train.seed
        self.ledger.tell(Planned(trial=number, values=found.values, seed=seed, run=run, attributes=found.attributes))

    def _exploit(self, move: Exploit) -> None:
        trial, donor = self.state.trials[move.trial], self.state.trials[move.donor]
        self.ledger.tell(
            Exploited(
                trial=move.trial,
                donor=move.donor,
                epoch=donor.epoch,
                values=move.values,
                run=f"{self.state.campaign.name}-{trial.number:03d}-e{donor.epoch}",
                donor_run=donor.run,
                checkpoint=donor.checkpoint,
            )
        )

    def _part(self, trial: Trial, until: int) -> Part | None:
        """None, and the trial has failed, when the settings do not go together."""
        try:
            config = self.config_of(trial)
        except ValidationError as error:
            why = "; ".join(str(detail.get("ctx", {}).get("error", detail["msg"])) for detail in error.errors())
            self.ledger.tell(Failed(trial=trial.number, why=why, code="config"))
            return None
        assert self.given is not None, "the campaign is not planned"
        fork = None
        if trial.exploits:
            last = trial.exploits[-1]
            fork = (last.donor_run, last.checkpoint)
        return Part(
            trial=trial.number,
            config=config,
            until=until,
            known=frozenset(trial.reports),
            fork=fork,
            given=self.given,
            state=str(state_folder()),
            weigh=tuple(name for name in self.state.campaign.metrics if name in WEIGHTS),
        )

    def config_of(self, trial: Trial) -> Config:
        """The whole settings of a trial. Raises ValidationError when they do not go together."""
        data = self.state.data.get(trial.phase, {})
        keep = {"checkpoint.keep": self.state.epochs} if self.state.campaign.schedule.kind == "pbt" else {}
        extra = {"name": trial.run, "train.seed": trial.seed, **keep, **data}
        return with_values(self.base, {**trial.values, **extra})

    def started(self, identity: str, part: Part) -> None:
        """Ray Tune has a part under an id of its own."""
        self.running[identity] = part.trial

    def told(self, identity: str, result: Mapping[str, Any]) -> None:
        """What the process of a part reports.

        With its end the part is over for the driver: the trial may train its next one before Ray Tune has ended this.
        """
        number = self.running.get(identity)
        if number is None:
            return
        trial = self.state.trials[number]
        if "epoch" in result and result["epoch"] not in trial.reports:
            metrics = {name: value for name, value in result["metrics"].items() if math.isfinite(value)}
            self.ledger.tell(Reported(trial=number, epoch=result["epoch"], metrics=metrics, seconds=result["seconds"]))
        elif "failed" in result:
            del self.running[identity]
            self._failed(number, result["failed"], result["code"])
        elif "until" in result:
            del self.running[identity]
            self._ended(trial, result["until"], result["checkpoint"], result.get("weighed", {}))
        self.show(self.state)

    def _ended(self, trial: Trial, epoch: int, checkpoint: str, weighed: Mapping[str, float]) -> None:
        if epoch >= self.state.epochs:
            self.ledger.tell(Finished(trial=trial.number, checkpoint=checkpoint, metrics=dict(weighed)))
        else:
            self.ledger.tell(Paused(trial=trial.number, epoch=epoch, checkpoint=checkpoint))

    def left(self, identity: str, error: str | None = None) -> None:
        """A part is over; one that has not said how has failed with this error."""
        number = self.running.pop(identity, None)
        if number is not None and self.state.trials[number].state == "running":
            self._failed(number, error or "its process ended without a word", "internal")
        self.show(self.state)

    def _failed(self, number: int, why: str, code: str) -> None:
        self.ledger.tell(Failed(trial=number, why=why, code=code))
        first = self.state.search[:ALL_FAIL]
        if len(first) == ALL_FAIL and all(trial.state == "failed" and not trial.reports for trial in first):
            self.over = "the first trials have all failed"

    def check_end(self) -> None:
        """Raises TrainingError when no trial has come to anything."""
        state = self.state
        if state.search and all(trial.state == "failed" for trial in state.search):
            first = state.search[0]
            raise TrainingError(f"all {len(state.search)} trials have failed; the first: {first.why}", "")
