"""A campaign driven to its end: each move of the schedule becomes a part of a trial, each of its words a record."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from rayox_model.core.errors import TrainingError
from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.journal import say_nothing
from rayox_platform.runs.places import open_runs
from rayox_platform.storage.state import state_folder
from rayox_platform.tune.budget import out_of_time, why_no_more
from rayox_platform.tune.campaign_home import CampaignHome
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.confirmation import confirm_move
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Exploited, Failed, Finished, Paused, Planned, Pruned, Reported, Started
from rayox_platform.tune.leftover_runs import free_name
from rayox_platform.tune.moves import Begin, Done, Exploit, Move, Prune, Resume, Wait
from rayox_platform.tune.part import Part
from rayox_platform.tune.schedule import next_move
from rayox_platform.tune.search import suggest
from rayox_platform.tune.space_check import with_values
from rayox_platform.tune.weight import WEIGHTS

STOPPED = "stopped by `rayox tune stop`"
LOOK_SECONDS = 2.0
# A population's checkpoints are those at the end of epochs, all of which are kept for whoever takes over from them.
DONATED = {"checkpoint.every_steps": 0, "checkpoint.every_minutes": 0.0}
ALL_FAIL = 3  # first trials that fail without an epoch: then it is not the trials' fault


@dataclass
class Driver:
    ledger: Ledger
    base: Config  # of trials, with the storage named in full
    home: CampaignHome
    earlier: State | None = None  # of another campaign that the searcher learns from
    show: Callable[[State], None] = lambda state: None
    given: Capacity | None = None  # what each trial gets, once the campaign is planned
    at_a_time: int = 1  # trials side by side, once it is
    say: Callable[[str], None] = say_nothing
    ended_by: str = ""  # what ended the search, once that is so
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
                    self.over = self.over or self.ended_by or why_no_more(self.state) or "the search is done"
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
                    self.ledger.tell(replace(move, run=self._run(move, move.run)))
                    continue
            part = self._part(self.state.trials[number], until)
            if part:
                self.ledger.tell(Started(trial=number, until=until, gpus=part.given.gpus))
                self.show(self.state)
                return part

    def _move(self) -> Move | Planned:
        if self._is_asked_to_stop():
            self.over = self.over or STOPPED
        if self.over:
            return Done()
        if not self.state.confirming:
            why = out_of_time(self.state, self.at_a_time)
            may_begin = why is None and why_no_more(self.state, self.at_a_time) is None
            move = next_move(self.state, may_begin, why is None)
            if not isinstance(move, Done):
                return move
            self.ended_by = why or why_no_more(self.state, self.at_a_time) or ""
        return confirm_move(self.state)

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
        name, seed = f"{self.state.campaign.name}-{number:03d}", self.base.train.seed
        planned = Planned(trial=number, values=found.values, seed=seed, run=name, attributes=found.attributes)
        self.ledger.tell(replace(planned, run=self._run(planned, name)))

    def _exploit(self, move: Exploit) -> None:
        kept = self.state.trials[move.donor].kept[move.epoch]
        name = f"{self.state.campaign.name}-{move.trial:03d}-e{move.epoch}"
        self.ledger.tell(
            Exploited(
                trial=move.trial,
                donor=move.donor,
                epoch=move.epoch,
                values=move.values,
                run=free_name(open_runs(self.base.storage), name, None, self.say),
                donor_run=kept.run,
                checkpoint=kept.checkpoint,
            )
        )

    def _run(self, planned: Planned, name: str) -> str:
        """The name of a trial's run: not that of another one, which a campaign of the same name may have left."""
        trial = Trial(planned.trial, planned.values, planned.seed, name, planned.phase)
        try:
            config = self.config_of(trial)
        except ValidationError:
            return name  # it fails before it has a run
        return free_name(open_runs(self.base.storage), name, config, self.say)

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
        is_pbt = self.state.campaign.schedule.kind == "pbt"
        keep = DONATED | {"checkpoint.keep": self.state.epochs} if is_pbt else {}
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
        search = self.state.search
        first, learned = search[:ALL_FAIL], any(trial.reports for trial in search)
        if len(first) == ALL_FAIL and all(trial.state == "failed" for trial in first) and not learned:
            self.over = "the first trials have all failed"

    def check_end(self) -> None:
        """Raises TrainingError when no trial has come to anything."""
        state = self.state
        if state.search and all(trial.state == "failed" for trial in state.search):
            first = state.search[0]
            raise TrainingError(f"all {len(state.search)} trials have failed; the first: {first.why}", "")
