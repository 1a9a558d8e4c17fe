"""Searchers and schedules on recorded curves: AP of what they choose against epochs spent, with intervals (make bench).

Beside rayox's own stand random search, Ray's stopping ASHA, and "every trial a fixed few epochs, then the best whole",
which recent papers find hard to beat (arXiv:2404.04111). A trial has the curve of the recorded setting nearest to its
own, moved by what another seed moves the base recipe: so the luckiest trial may win here as it may in a real campaign.
What is compared is the recorded AP of the setting that was chosen, without that luck.
"""

from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from learning_table import LearningTable, read_table
from simulate import play

from rayox_platform.config.tree import Config
from rayox_platform.tune.campaign import Campaign

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

CURVES = Path(__file__).parent / "curves.json"
SEEDS, TRIALS, EPOCHS = 200, 24, 9
SCHEDULES: dict[str, str | dict] = {
    "every trial whole": "none",
    "Ray's ASHA": "asha",
    "3 epochs, then the best whole": {"kind": "promote", "rungs": [3]},
    "promote": "promote",
    "hyperband": "hyperband",
    "median": "median",
}
# A population of PBT goes on with another's weights, and a grid has no step on a continuous scale: no curve of theirs
# was recorded. GP's suggestions take twenty times as long as TPE's, so it is played with the best schedules alone.
WAYS = {
    f"{search}, {name}": {"search": search, "schedule": schedule}
    for search in ("random", "tpe", "nsga2", "gp")
    for name, schedule in SCHEDULES.items()
    if search != "gp" or name in ("promote", "3 epochs, then the best whole")
}
DEFAULT, WHOLE = "tpe, promote", "random, every trial whole"


@dataclass(frozen=True)
class Search:
    """One simulated campaign: AP of its choice after each number of epochs, 0 before anything is whole."""

    chosen: np.ndarray
    spent: int


def test_the_default_comes_as_near_as_another_seed_with_a_third_of_random_searchs_epochs():
    """It does not reach random search's AP itself: what is between them is less than a training's luck."""
    table = read_table(CURVES, campaign({}, 0).dimensions)
    with Pool() as pool:
        found = {name: pool.map(partial(search, way, table), range(SEEDS)) for name, way in WAYS.items()}
    print(report(found))
    luck = float(np.std([curve[-1] for curve in table.base_curves], ddof=1))
    assert final(found[DEFAULT]) > final(found[WHOLE]) - luck / 2
    assert mean_spent(found[DEFAULT]) <= mean_spent(found[WHOLE]) / 3


def search(way: dict, table: LearningTable, seed: int) -> Search:
    base = {"epochs": EPOCHS, "closing_epochs": 3, "warmup_epochs": 1}
    config = Config.model_validate({"train": base}).model_dump(mode="json")
    finals = [curve[-1] for curve in table.base_curves]
    spread = np.std(finals, axis=0, ddof=1)

    def curve(values: dict) -> list[float]:
        luck = np.random.default_rng([seed, crc32(str(sorted(values.items())).encode())]).normal()
        recorded = np.array(table.curve(values))
        return list(recorded + luck * spread * recorded / max(finals))  # in proportion: an early score moves less

    state, spent = play(campaign(way, seed), config, curve)
    chosen, best = np.zeros(TRIALS * EPOCHS + 1), -np.inf
    recorded = {
        trial.reports[EPOCHS][state.campaign.first_metric]: trial for trial in state.search if trial.epoch == EPOCHS
    }
    for epochs, seen in spent:
        if seen > best:
            best = seen
            chosen[epochs:] = table.curve(recorded[seen].values)[-1]
    return Search(chosen, state.epochs_trained)


def campaign(way: dict, seed: int) -> Campaign:
    from record_curves import SPACE

    schedule = way.get("schedule", "promote")
    return Campaign.model_validate(
        {
            "space": SPACE,
            "search": {"kind": way.get("search", "tpe"), "seed": seed},
            "schedule": {"kind": schedule} if isinstance(schedule, str) else schedule,
            "budget": {"trials": TRIALS},
        }
    )


def final(searches: list[Search]) -> float:
    return float(np.mean([one.chosen[-1] for one in searches]))


def mean_spent(searches: list[Search]) -> float:
    return float(np.mean([one.spent for one in searches]))


def epochs_to(searches: list[Search], target: float) -> int | None:
    """How many epochs until the mean over campaigns reaches the target."""
    reached = np.flatnonzero(np.mean([one.chosen for one in searches], axis=0) >= target)
    return int(reached[0]) if len(reached) else None


def report(found: dict[str, list[Search]]) -> str:
    target = final(found[WHOLE])
    lines = ["\n| campaign | AP of the choice | 95 % | epochs spent | epochs to random's AP |", "|---|---|---|---|---|"]
    for name, searches in found.items():
        ends = [one.chosen[-1] for one in searches]
        half = 1.96 * np.std(ends, ddof=1) / len(ends) ** 0.5
        needed = epochs_to(searches, target)
        lines.append(
            f"| {name} | {np.mean(ends):.4f} | ± {half:.4f} | {mean_spent(searches):.0f} | {needed or 'never'} |"
        )
    return "\n".join(lines)
