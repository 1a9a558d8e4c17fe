"""One part of a trial, in a process of Ray Tune: from its newest checkpoint to a rung, or to its end."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ray import tune

from rayox_model.checkpoint.snapshot import Verified
from rayox_model.core.errors import ConfigError, RayoxError
from rayox_platform.config.tree import Config
from rayox_platform.resources.demand import Capacity
from rayox_platform.runs.bucket_lock import STALE_SECONDS
from rayox_platform.runs.ending import end_told, tell_rest
from rayox_platform.runs.event_kinds import Epoch, RunEvent, Start
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.places import open_runs
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import Trained, train
from rayox_platform.tune.leftover_runs import refuse_other
from rayox_platform.tune.leftovers import free_places, marked
from rayox_platform.tune.place import keep_annotations
from rayox_platform.tune.weight import weigh_network

PATIENCE_SECONDS = 2 * STALE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the process needs to know."""

    trial: int
    config: Config  # of the trial; its storage is named in full
    until: int  # epochs
    known: frozenset[int]  # epochs that the ledger has
    fork: tuple[str, str] | None  # the run and the checkpoint that a trial of a population goes on from
    given: Capacity
    state: str  # the state folder of the campaign's driver
    weigh: tuple[str, ...] = ()  # what else is asked of a whole one: parameters, milliseconds


def run_part(setup: Mapping[str, Any]) -> None:
    """What Ray Tune calls. What is wrong with this trial alone is reported: a failed trial is a result."""
    part: Part = setup["part"]
    os.environ["RAYOX_STATE"] = part.state
    try:
        trained, weighed = _train(part)
    except RayoxError as error:
        tune.report({"failed": error.message, "code": error.code})
        return
    tune.report({"until": trained.epoch, "checkpoint": trained.checkpoint, "weighed": weighed})


def _train(part: Part) -> tuple[Trained, dict[str, float]]:
    runs = open_runs(part.config.storage)
    home = runs.home(part.config.name)
    given = marked(part.given, home)
    with _claimed(home), end_told(home):
        if given.workers > 1:
            free_places(given)
        chosen = home.checkpoints.choose()
        if chosen is not None:
            refuse_other(chosen, part.config)
        prepared = prepare(part.config, resume=chosen or False)
        if not prepared.resumed:
            keep_annotations(home.shared, prepared.images)
        teller = Teller(known=set(part.known))
        if prepared.resumed:
            teller.catch_up(home)
        fork: Verified | None = None
        if part.fork and not prepared.resumed:
            donor, checkpoint = part.fork
            fork = runs.home(donor).checkpoints.verified(checkpoint)
        trained = train(
            prepared,
            given,
            teller.show,
            until_epoch=part.until if part.until < part.config.train.epochs else None,
            fork=fork,
            in_process=given.workers == 1,
        )
        tell_rest(home, "finished" if trained.whole else "paused", f"epoch {trained.epoch} of a campaign's trial")
        asked = part.weigh if trained.whole else ()
        return trained, weigh_network(prepared.network, part.config.image_size, asked)


@contextmanager
def _claimed(home: RunHome) -> Iterator[None]:
    """As RunHome.claim, with patience: a process of this trial that was killed may still be known as the holder."""
    end = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(home.claim())
                break
            except ConfigError:
                if time.monotonic() > end:
                    raise
            time.sleep(1.0)
        yield


@dataclass
class Teller:
    """Reports each epoch once, however often it is trained: the same epoch of the same run always ends the same."""

    known: set[int] = field(default_factory=set)
    since: float = field(default_factory=time.time)

    def catch_up(self, home: RunHome) -> None:
        """Tell of what an earlier process trained and its driver did not live to hear of."""
        for event in home.events.read():
            self.show(event)

    def show(self, event: RunEvent) -> None:
        if isinstance(event, Start):
            self.since = event.time
        if not isinstance(event, Epoch):
            return
        seconds, self.since = event.time - self.since, event.time
        if event.epoch not in self.known:
            self.known.add(event.epoch)
            tune.report({"epoch": event.epoch, "metrics": dict(event.metrics), "seconds": max(0.0, seconds)})
