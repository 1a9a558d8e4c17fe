"""Ray Tune runs what a driver asks for: as many parts at a time as the plan allows, each in a process of its own.

A trial pauses by coming to the end of a part, and goes on by another part. Where it goes on from is a run and the name
of an exact checkpoint of it: the pointer stands in the ledger, for one that pauses and for one that takes over
another's weights. So Ray Tune is handed no checkpoints, and none is copied: its own pausing, exploiting and restoring
would know of less than the ledger does. A part whose process dies is begun again by Ray Tune, from the run's newest
checkpoint.
"""

import logging
import os
import time
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.search import Searcher

from rayox_platform.resources.demand import Capacity
from rayox_platform.resources.node_labels import selector
from rayox_platform.runs.places import open_runs
from rayox_platform.train.probe import HEAD
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.leftovers import free_places, marked
from rayox_platform.tune.part import run_part

QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths of data are relative to the user's folder
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the ledger is the truth
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}
MANY = 10**9


def run(driver: Driver, concurrency: int) -> None:
    """Until the driver has nothing more to do. Ray Tune's own notes lie in the campaign's folder; nobody reads them."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it says of a trial, the ledger says
    given = driver.given
    assert given is not None
    path, filesystem = driver.home.ray_storage
    Tuner(
        tune.with_resources(run_part, resources(given, driver.base.train.nodes)),
        tune_config=TuneConfig(
            metric="epoch",
            mode="max",
            search_alg=Parts(driver),
            num_samples=MANY,
            max_concurrent_trials=concurrency,
            reuse_actors=not given.gpu,
        ),
        run_config=RunConfig(
            name=f"driver-{os.getpid()}-{round(time.time())}",
            storage_path=path,
            storage_filesystem=filesystem,
            callbacks=[Listener(driver)],
            failure_config=FailureConfig(max_failures=driver.base.train.max_failures),
            verbose=0,
        ),
    ).fit()


def resources(given: Capacity, nodes: str | None = None) -> PlacementGroupFactory:
    """A trial of one worker is that worker; a larger one only waits for its workers, which Ray Train places.

    nodes is train.nodes.
    """
    if given.workers == 1:
        labels = selector(nodes)
        return PlacementGroupFactory([given.reserved], **({"bundle_label_selector": [labels]} if labels else {}))
    return PlacementGroupFactory([{HEAD: 0.001}])


class _OfDriver:
    """Ray Tune copies and pickles what it is given; a driver is one and stays where it is."""

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()


class Parts(_OfDriver, Searcher):  # type: ignore[misc]
    """The parts of trials, as Ray Tune's trials."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver

    def set_search_properties(self, metric: object, mode: object, config: object, **spec: object) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        part = self._driver.next_part()
        if part is not None:
            self._driver.started(trial_id, part)
            return {"part": part}
        if self._driver.over:
            return str(Searcher.FINISHED)
        return None

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        """The listener hears of it."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger has everything."""

    def restore(self, checkpoint_path: str) -> None:
        """The ledger has everything."""


class Listener(_OfDriver, Callback):  # type: ignore[misc]
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def on_trial_result(self, iteration: int, trials: object, trial: Any, result: Any, **info: object) -> None:
        self._driver.told(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: object, trial: Any, **info: object) -> None:
        self._driver.left(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: object, trial: Any, **info: object) -> None:
        failure = trial.get_error() if hasattr(trial, "get_error") else None
        lines = str(failure).strip().splitlines() if failure else []
        self._free_places(trial.trial_id)
        self._driver.left(trial.trial_id, lines[-1][:300] if lines else None)

    def _free_places(self, identity: str) -> None:
        """A process that died cannot give back what its workers had."""
        given, number = self._driver.given, self._driver.running.get(identity)
        if given is not None and given.workers > 1 and number is not None:
            home = open_runs(self._driver.base.storage).home(self._driver.state.trials[number].run)
            free_places(marked(given, home))
