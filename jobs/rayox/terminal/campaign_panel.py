"""What a watcher sees of a campaign, as its ledger adds up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rayox.terminal.console import Console
from rayox.terminal.panel import Panel
from rayox.terminal.progress import duration
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.planner import expected, num_confirmations

SECONDS_BETWEEN_LINES = 60.0
MOST_NAMED = 4  # running trials


@dataclass
class CampaignStatus:
    """A campaign in words. They are made when it moves on: its state belongs to the thread that shows it."""

    name: str
    clock: Callable[[], float] = time.time
    stage: str = "starting Ray"
    stage_since: float = field(default_factory=time.time)
    running: bool = False
    done: float = 0.0
    _said: set[tuple[int, str, int]] = field(default_factory=set)
    _first: tuple[float, int] | None = None  # when it was first seen running, and its epochs then
    _counted: str = ""
    _details: str = ""
    _left: float | None = None  # seconds, as of the last epoch
    _left_at: float = 0.0

    line_seconds = SECONDS_BETWEEN_LINES

    def enter(self, stage: str) -> None:
        self.stage, self.stage_since, self.running = stage, self.clock(), False

    def take(self, news: State) -> str | None:
        """Follow its state; a line for each epoch of a trial and each end of one that is new."""
        if news.trials:
            self._follow(news)
        lines = []
        for trial in news.trials:
            key = (trial.number, trial.state, trial.epoch)
            if key not in self._said and trial.state != "planned":
                self._said.add(key)
                lines.append(self._line(news, trial))
        return "\n".join(lines) or None

    def headline(self) -> str:
        """How far it is and when it ends."""
        if not self.running:
            return f"{self.name}  {self.stage}  {duration(self.clock() - self.stage_since)}"
        if self._left is None:
            return f"{self.name}  {self._counted}"
        return f"{self.name}  {self._counted}  ETA {duration(max(0.0, self._left - (self.clock() - self._left_at)))}"

    def details(self) -> str:
        """The best so far against the base recipe, and what is being trained."""
        return self._details if self.running else ""

    def _follow(self, state: State) -> None:
        self.running = True
        confirming = state.confirming
        searched = sum(len(trial.reports) for trial in state.search)
        trials, epochs = expected(state.campaign, state.epochs)
        search = searched if confirming else max(searched, epochs)
        total = search + num_confirmations(state.campaign) * state.epochs
        self.done = min(1.0, state.epochs_trained / total)
        phase = "confirming the best" if confirming else f"trial {len(state.search)}/{max(len(state.search), trials)}"
        before = self._counted
        self._counted = f"{phase}  epoch {state.epochs_trained} of about {total}"
        self._details = _details(state)
        if self._first is None:
            self._first = (self.clock(), state.epochs_trained)
        elif self._counted != before and state.epochs_trained > self._first[1]:
            elapsed, epochs = self.clock() - self._first[0], state.epochs_trained - self._first[1]
            self._left, self._left_at = max(0, total - state.epochs_trained) * elapsed / epochs, self.clock()

    def _line(self, state: State, trial: Trial) -> str:
        metric = state.campaign.first_metric
        score = trial.reports[trial.epoch].get(metric) if trial.epoch else None
        stamp = time.strftime("%H:%M:%S", time.localtime(state.last))
        parts = [stamp, f"trial {trial.number}", trial.state, f"epoch {trial.epoch}/{state.epochs}"]
        if score is not None:
            parts.append(f"{metric} {score:.4f}")
        if trial.why:
            parts.append(" ".join(trial.why.split()))
        if state.best:
            parts.append(f"best: trial {state.best.number}")
        return "  ".join(parts)


def _details(state: State) -> str:
    parts, best = [], state.best
    if best is not None:
        base = state.search[0]
        value = state.sign * state.score(best)
        against = ""
        if best is not base and base.epoch >= best.epoch:
            against = f", the base recipe {state.sign * state.score(base, best.epoch):.4f}"
        parts.append(
            f"best: trial {best.number}, {state.campaign.first_metric} {value:.4f} at epoch {best.epoch}{against}"
        )
    running = [trial for trial in state.trials if trial.state == "running"]
    named = [f"{trial.number} ({trial.epoch}/{trial.until})" for trial in running[:MOST_NAMED]]
    if running:
        more = f" and {len(running) - MOST_NAMED} more" if len(running) > MOST_NAMED else ""
        parts.append(f"training: trial {', '.join(named)}{more}")
    return "  ".join(parts)


class CampaignPanel(Panel[State]):
    """Shows a campaign by its state."""

    def __init__(self, name: str, console: Console) -> None:
        super().__init__(CampaignStatus(name), console)
