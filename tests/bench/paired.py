"""AP of one setting against another: the same seeds for both, and how sure their difference is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t
from toy_runs import train

from rayox.config import RECIPES
from rayox_platform.config import load_config

SEEDS = (0, 1, 2)
SHORTER = ("train.epochs=10", "train.closing_epochs=3", "train.evaluate_every=10")


def shapes_metrics(folder: Path, seed: int, *settings: str) -> Mapping[str, float]:
    """Ten epochs of the demo's recipe, evaluated on its 500 validation images."""
    name = f"{'-'.join(setting.partition('=')[2] for setting in settings)}-{seed}"
    wanted = [*settings, f"train.seed={seed}", f"storage={folder}", f"name={name}"]
    config = load_config("shapes", [*wanted, *SHORTER], packaged=RECIPES, environ={}).config
    return train(config, lambda event: None).metrics


def mean_difference(metrics: Callable[[str, int], Mapping[str, float]], one: str, other: str) -> float:
    """The difference in AP, one - other: printed for each seed, and with its 95 % interval (Student's t)."""
    differences = []
    for seed in SEEDS:
        found = {name: metrics(name, seed) for name in (other, one)}
        differences.append(found[one]["AP"] - found[other]["AP"])
        print(f"\nseed {seed}:", {name: f"AP {of['AP']:.4f} AP50 {of['AP50']:.4f}" for name, of in found.items()})
    mid, spread = mean(differences), stdev(differences) / len(differences) ** 0.5
    low, high = t.interval(0.95, len(differences) - 1, loc=mid, scale=spread)
    print(f"{one} - {other}: AP {mid:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}] of {len(SEEDS)} paired seeds")
    return mid
