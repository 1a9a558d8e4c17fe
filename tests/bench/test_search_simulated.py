"""Searchers and schedules on recorded curves: AP reached against epochs spent, with intervals (make bench).

Beside rayox's own stand random search, Ray's stopping ASHA, and "every trial a fixed few epochs, then the best whole",
which recent papers find hard to beat (arXiv:2404.04111).
"""

from pathlib import Path

import numpy as np
import pytest
from learning_table import LearningTable, read_table

from rayox_platform.config.tree import Config
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.simulate import play

pytestmark = pytest.mark.bench

CURVES = Path(__file__).parent / "curves.json"
SEEDS, TRIALS, EPOCHS = 200, 24, 9
WAYS = {
    "random, every trial whole": {"search": "random", "schedule": "none"},
    "random, Ray's ASHA": {"search": "random", "schedule": "asha"},
    "random, 3 epochs, then the best whole": {"search": "random", "schedule": {"kind": "promote", "rungs": [3]}},
    "random, promote": {"search": "random", "schedule": "promote"},
    "tpe, every trial whole": {"search": "tpe", "schedule": "none"},
    "tpe, asha": {"search": "tpe", "schedule": "asha"},
    "tpe, promote (the default)": {"search": "tpe", "schedule": "promote"},
    "tpe, 3 epochs, then the best whole": {"search": "tpe", "schedule": {"kind": "promote", "rungs": [3]}},
    "tpe, hyperband": {"search": "tpe", "schedule": "hyperband"},
    "tpe, median": {"search": "tpe", "schedule": "median"},
}


def test_the_default_reaches_random_searchs_ap_with_a_third_of_its_epochs():
    if not CURVES.exists():
        pytest.skip("needs tests/bench/curves.json, which record_curves.py records in about two hours")
    table = read_table(CURVES, _campaign({}, 0).dimensions)
    found = {name: [_played(way, seed, table) for seed in range(SEEDS)] for name, way in WAYS.items()}
    target = float(np.mean([best for _, best in found["random, every trial whole"]]))
    print(f"\n{'':42} {'AP':>6}  {'95 %':>15}  {'epochs':>7}")
    for name, ends in found.items():
        spent, best = np.array(ends).T
        half = 1.96 * best.std(ddof=1) / len(best) ** 0.5
        print(f"{name:42} {best.mean():6.4f}  {best.mean() - half:.4f}–{best.mean() + half:.4f}  {spent.mean():7.1f}")
    spent, best = np.array(found["tpe, promote (the default)"]).T
    whole = np.mean([epochs for epochs, _ in found["random, every trial whole"]])
    assert best.mean() >= target - 0.002
    assert spent.mean() <= whole / 3


def _campaign(way: dict, seed: int) -> Campaign:
    from record_curves import SPACE

    search = {"kind": way.get("search", "tpe"), "seed": seed}
    schedule = way.get("schedule", "promote")
    schedule = {"kind": schedule} if isinstance(schedule, str) else schedule
    return Campaign.model_validate(
        {"space": SPACE, "search": search, "schedule": schedule, "budget": {"trials": TRIALS}}
    )


def _played(way: dict, seed: int, table: LearningTable) -> tuple[float, float]:
    """(epochs spent, AP of the best whole trial)."""
    base = {"epochs": EPOCHS, "closing_epochs": 3, "warmup_epochs": 1}
    config = Config.model_validate({"train": base}).model_dump(mode="json")
    state, spent = play(_campaign(way, seed), config, table.curve)
    return float(state.epochs_trained), spent[-1][1]
