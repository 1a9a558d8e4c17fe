"""A campaign in MLflow: a parent run and a child for each trial, made from the ledger and from nothing else.

What a dead driver or an absent server has left out is made up for the next time; done again, it changes nothing.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rayox_model.core.errors import TrackingError
from rayox_platform.config.settings import leaves, settings
from rayox_platform.runs.outbox_entries import Points
from rayox_platform.track.tracking import RUN_KIND_TAG, STORE_ERRORS, Store, Tracking, open_run
from rayox_platform.tune.campaign_home import CampaignHome
from rayox_platform.tune.campaign_state import State, Trial
from rayox_platform.tune.ledger import read_state
from rayox_platform.tune.report import write_report

EVERY_SECONDS = 10.0
AWAY = (*STORE_ERRORS, TrackingError)
STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "paused": "KILLED"}  # as Optuna has them
KIND = "campaign"  # of the parent run
PARENT = "mlflow.parentRunId"  # MLflow's own
CAMPAIGN_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass
class Mirror:
    """What of a campaign this process knows to be in MLflow."""

    store: Store
    name: str
    parent: Tracking | None = None
    children: dict[str, Tracking] = field(default_factory=dict)  # by the trial's name, which outlives an exploit
    told: dict[str, dict[int, set[str]]] = field(default_factory=dict)  # by epoch: metrics
    statuses: dict[str, str] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)  # trials whose end is explained
    exploits: dict[str, int] = field(default_factory=dict)  # how many there were

    def bring_up_to_date(self, state: State) -> None:
        """Raises MLflow's errors, which a later call makes up for."""
        parent = self._parent(state)
        for trial in state.trials:
            if trial.state != "planned":
                self._bring(state, trial, parent)
        best = state.best
        if best:
            number = len([trial for trial in state.search if trial.reports])
            metrics = {f"best/{state.campaign.first_metric}": state.sign * state.score(best)}
            parent.log_points([Points(metrics, number, state.last)])
            parent.set_tags({"rayox.best_trial": str(best.number), "rayox.best_run": best.run})
        if state.confirmed:
            parent.set_tags({"rayox.verdict": str(state.confirmed["sentence"])[:5000]})
        status = CAMPAIGN_STATUS.get(state.ended.status, "FAILED") if state.ended else "RUNNING"
        self._status(parent, "", status, state.last)

    def keep_report(self, state: State) -> None:
        """The page and its pictures, among the parent's artifacts."""
        with tempfile.TemporaryDirectory(prefix="rayox-") as folder:
            write_report(state, Path(folder))
            self._parent(state).log_folder(Path(folder), "report")

    def _parent(self, state: State) -> Tracking:
        if self.parent is None:
            params = {key: str(value) for key, value in _flat(state.campaign.model_dump(mode="json"))}
            self.parent = open_run(self.store, self.name, params, {RUN_KIND_TAG: KIND}, kind=KIND)
        return self.parent

    def _bring(self, state: State, trial: Trial, parent: Tracking) -> None:
        name = trial.name
        child = self.children.get(name)
        if child is None:
            tags = {PARENT: parent.run_id, RUN_KIND_TAG: "trial", "rayox.phase": trial.phase}
            child = self.children[name] = open_run(self.store, name, _params(state, trial), tags)
        told = self.told.setdefault(name, {})
        for epoch, report in sorted(trial.reports.items()):
            new = {metric: report[metric] for metric in report.keys() - told.get(epoch, set())}
            if new:  # of the last epoch also what a whole trial weighs, which is known after its score
                child.log_points([Points(new, epoch, trial.told_at[epoch])])
                told[epoch] = set(report)
        is_over = trial.state in ("finished", "failed", "pruned") or (trial.state == "paused" and state.ended)
        if trial.why and name not in self.reasons:
            child.set_tags({"rayox.why": trial.why[:5000]})
            self.reasons.add(name)
        if len(trial.exploits) > self.exploits.get(name, 0):  # parameters of MLflow do not change
            child.set_tags({"rayox.values": json.dumps(trial.values), "rayox.now": trial.run})
            self.exploits[name] = len(trial.exploits)
        self._status(child, name, STATUS[trial.state] if is_over else "RUNNING", trial.ended or state.last)

    def _status(self, run: Tracking, name: str, status: str, at: float) -> None:
        if self.statuses.get(name) != status:
            run.set_status(status, at)
            self.statuses[name] = status


@contextmanager
def mirrored(home: CampaignHome, store: Store, flush_seconds: float, say: Callable[[str], None]) -> Iterator[Mirror]:
    """Keep MLflow up to date from a thread beside; the rest is sent at the end, for so many seconds at most.

    The parent run is opened at once. Raises TrackingError when the store does not take it.
    """
    mirror, over = Mirror(store, home.name), threading.Event()
    mirror.parent = mirror._parent(read_state(home.journal()))

    def follow() -> None:
        seen = -1
        while not over.wait(EVERY_SECONDS):
            try:
                state = read_state(home.journal())
                if state.num_records != seen:
                    mirror.bring_up_to_date(state)
                seen = state.num_records
            except AWAY:
                continue  # the next look makes up for it

    thread = threading.Thread(target=follow, name="rayox-mirror", daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        over.set()
        thread.join(flush_seconds)


def send_rest(mirror: Mirror, home: CampaignHome, seconds: float, say: Callable[[str], None]) -> None:
    """After the campaign's last record: try until it is sent, or the time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            state = read_state(home.journal())
            mirror.bring_up_to_date(state)
            mirror.keep_report(state)
            return
        except AWAY as error:
            if time.monotonic() >= end:
                said = " ".join(str(error).split())[:200]
                say(f"MLflow does not have all of the campaign yet ({said}); the next `--resume` sends the rest")
                return
        time.sleep(1.0)


def _params(state: State, trial: Trial) -> dict[str, str]:
    """Every setting of the trial, as a run has them."""
    own = dict(leaves(state.config, settings())) | dict(trial.values) | {"train.seed": trial.seed}
    return {key: str(value) for key, value in own.items()} | {"trial": str(trial.number)}


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in ("space", "metrics"):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
