"""Where a campaign stands: its records, folded in their order. Nothing else is known of it, whatever was killed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rayox_platform.config.settings import leaves, settings
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.ledger_records import (
    Confirmed,
    Driven,
    Ended,
    Event,
    Exploited,
    Extended,
    Failed,
    Finished,
    Moved,
    Opened,
    Paused,
    Phase,
    Planned,
    Pruned,
    Reported,
    Started,
    Values,
)

TrialState = Literal["planned", "running", "paused", "finished", "pruned", "failed"]
OVER = ("finished", "pruned", "failed")
BEFORE_A_DRIVER = (Moved, Extended, Driven)  # written by one that is about to begin: the time before them was nobody's


class Kept(NamedTuple):
    run: str
    checkpoint: str


@dataclass
class Trial:
    number: int
    values: Values
    seed: int
    run: str
    phase: Phase = "search"
    first_run: str = ""  # where it has taken over from another since
    of: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState = "planned"
    owed: bool = True  # it was begun by a driver that is gone, or not yet begun
    until: int = 0  # epochs it was last to train to
    reports: dict[int, Mapping[str, float]] = field(default_factory=dict)  # by epoch
    told_at: dict[int, float] = field(default_factory=dict)  # when, by epoch
    seconds: float = 0.0
    gpus: float = 0.0  # while it runs
    gpu_seconds: float = 0.0
    checkpoint: str = ""
    why: str = ""
    exploits: list[Exploited] = field(default_factory=list)
    kept: dict[int, Kept] = field(default_factory=dict)  # the checkpoints it paused with, by epoch
    began: float = 0.0
    ended: float = 0.0
    epoch: int = 0  # the last one that is done

    @property
    def name(self) -> str:
        """The run it began as, by which it is known whatever it takes over."""
        return self.first_run or self.run

    def measured(self, metric: str, sign: float, epoch: int) -> list[float]:
        """What it had after each epoch up to this one that was evaluated; the higher the better."""
        found = [sign * report[metric] for at, report in self.reports.items() if at <= epoch and metric in report]
        return [score for score in found if math.isfinite(score)]

    def score(self, metric: str, sign: float, epoch: int | None = None) -> float:
        """What it had after an epoch, or after its last one; the higher the better; −∞ where nothing was measured."""
        known = [at for at in self.reports if (epoch is None or at <= epoch) and metric in self.reports[at]]
        if not known:
            return -math.inf
        value = self.reports[max(known)][metric]
        return sign * value if math.isfinite(value) else -math.inf


class Expected(NamedTuple):
    """In the first metric, of whole trainings; the higher the better."""

    gain: float  # that all further trials together are expected to bring
    noise: float  # by which trainings with the same settings seem to differ: a standard deviation


@dataclass
class State:
    campaign: Campaign = field(default_factory=Campaign)
    config: Mapping[str, Any] = field(default_factory=dict)  # of the base recipe
    data: Mapping[str, Any] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    driven_seconds: float = 0.0  # of all drivers
    epochs_trained: int = 0
    confirming: bool = False  # the search has ended, until the campaign is extended
    confirmed: Mapping[str, Any] | None = None
    ended: Ended | None = None
    began: float = 0.0
    weights: str = ""  # as Opened has it
    warm_from: str = ""  # likewise
    warm_records: int = 0  # likewise
    given: frozenset[str] | None = None  # settings that command lines have had; None: they were not kept
    regardless: int = 0  # trials to begin whatever stop_when says
    last: float = 0.0  # when something was last written
    num_records: int = 0
    submissions: list[str] = field(default_factory=list)  # the Ray jobs that have driven it
    expected: tuple[int, Expected | None] | None = field(default=None, compare=False)  # as of so many records

    @property
    def search(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.phase == "search"]

    @property
    def epochs(self) -> int:
        """Epochs of a whole training."""
        return int(self.config["train"]["epochs"])

    @property
    def confirms(self) -> bool:
        """Whether there is a confirmation: of val images that the search does not see, which one image cannot give."""
        return self.campaign.confirm.top > 0 and "confirm" in self.data

    @property
    def sign(self) -> float:
        return 1.0 if self.campaign.directions[0] == "max" else -1.0

    def score(self, trial: Trial, epoch: int | None = None) -> float:
        return trial.score(self.campaign.first_metric, self.sign, epoch)

    def measured(self, trial: Trial, epoch: int) -> list[float]:
        return trial.measured(self.campaign.first_metric, self.sign, epoch)

    def allows(self, values: Values) -> bool:
        """Whether a trial's values fulfil the constraints."""
        rules = self.campaign.rules
        every = dict(leaves(self.config, settings())) | dict(values) if rules else {}
        return all(rule.holds(every) for rule in rules)

    def ranked(self) -> list[Trial]:
        """Trials of the search, the best first: those that were trained longest before the others."""
        scored = [trial for trial in self.search if self.score(trial) > -math.inf and trial.state != "failed"]
        return sorted(scored, key=lambda trial: (-trial.epoch, -self.score(trial), trial.number))

    @property
    def best(self) -> Trial | None:
        return next(iter(self.ranked()), None)

    def apply(self, event: Event, time: float) -> None:
        """What a record says, on top of those before it."""
        self.num_records += 1
        if self.last and self.ended is None and not isinstance(event, BEFORE_A_DRIVER):
            self.driven_seconds += max(0.0, time - self.last)
        self.began, self.last = self.began or time, time
        match event:
            case Opened():
                self.campaign = Campaign.model_validate(event.campaign)
                self.config, self.data, self.weights = event.config, event.data, event.weights
                self.warm_from, self.warm_records = event.warm_from, event.warm_records
                self.given = None if event.given is None else frozenset(event.given)
            case Driven():
                self.ended = None
                self.submissions += [event.submission] if event.submission else []
                self._cut_off()
            case Extended():
                self._extend(event)
            case Moved():
                self.config, self.data = _laid_over(self.config, event.values), event.data
                self.campaign = Campaign.model_validate(self.campaign.model_dump() | {"recipe": event.recipe})
            case Planned():
                assert event.trial == len(self.trials), event
                trial = Trial(event.trial, event.values, event.seed, event.run, event.phase)
                trial.of, trial.attributes = event.of, event.attributes
                trial.began = time
                self.trials.append(trial)
                self.confirming = self.confirming or event.phase == "confirm"
            case Confirmed():
                self.confirmed = event.result
            case Ended():
                self.ended = event
                self._cut_off()
            case _:
                self._of_trial(self.trials[event.trial], event, time)

    def _cut_off(self) -> None:
        """What runs does so no more: its driver is gone."""
        for trial in self.trials:
            if trial.state == "running":
                trial.state, trial.owed = "paused", True

    def _extend(self, event: Extended) -> None:
        changed = self.campaign.model_dump(mode="json")
        for section, values in ({"budget": event.budget} | dict(event.changed)).items():
            changed[section] = changed[section] | dict(values) if isinstance(values, Mapping) else values
        self.campaign = Campaign.model_validate(changed)
        if self.given is not None:
            self.given |= frozenset(event.given)
        self.regardless = max(self.regardless, event.regardless)
        if event.budget or not {"stop_when", "confirm"}.isdisjoint(event.changed):
            self.confirmed = None  # others may be better now
        if event.budget or "stop_when" in event.changed:
            self.confirming = False

    def _of_trial(
        self,
        trial: Trial,
        event: Started | Reported | Paused | Exploited | Finished | Pruned | Failed,
        time: float,
    ) -> None:
        match event:
            case Started():
                trial.state, trial.until, trial.owed = "running", event.until, False
                trial.gpus = event.gpus
            case Reported():
                if event.epoch not in trial.reports:  # else it was trained again after a crash, and ended the same
                    trial.reports[event.epoch] = event.metrics
                    trial.seconds += event.seconds
                    trial.gpu_seconds += trial.gpus * event.seconds
                    trial.epoch = max(trial.epoch, event.epoch)
                    self.epochs_trained += 1
                    trial.told_at[event.epoch] = time
            case Paused():
                trial.state, trial.owed, trial.checkpoint = "paused", False, event.checkpoint
                trial.kept[event.epoch] = Kept(trial.run, event.checkpoint)
            case Exploited():
                trial.first_run = trial.name
                trial.values, trial.run, trial.checkpoint = event.values, event.run, ""
                trial.exploits.append(event)
            case Finished():
                trial.state, trial.ended, trial.checkpoint = "finished", time, event.checkpoint
                if event.metrics and trial.reports:
                    last = max(trial.reports)
                    trial.reports[last] = {**trial.reports[last], **event.metrics}
            case Pruned():
                trial.state, trial.why, trial.ended = "pruned", event.why, time
            case Failed():
                trial.state, trial.why, trial.ended = "failed", event.why, time


def _laid_over(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with some of its leaves replaced, by their dotted keys."""
    new = dict(tree)
    for key, value in values.items():
        first, _, rest = key.partition(".")
        new[first] = _laid_over(new[first], {rest: value}) if rest else value
    return new
