"""Whether the best trials beat the base recipe beyond luck, that of the images and that of the seeds.

S seeds, M images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rayox_platform.evaluate.matches import Matches, average_precision
from rayox_platform.tune.words import count

Weights = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Compared:
    """A trial against the base recipe, trained with the same fresh seeds."""

    trial: int
    score: float  # mean over the seeds, on the images of the confirmation
    difference: float
    lower: float
    upper: float

    @property
    def is_better(self) -> bool:
        return self.lower > 0


@dataclass(frozen=True)
class Evidence:
    base_score: float
    base_seeds: tuple[float, ...]  # score of each
    compared: tuple[Compared, ...]  # the best first
    confidence: float
    seeds: int
    images: int
    metric: str = "AP"

    @property
    def winner(self) -> Compared | None:
        """The one whose lead is largest among those that lead beyond noise, which one seed or image cannot tell."""
        return next((one for one in self.compared if one.is_better and self.seeds > 1 and self.images > 1), None)

    def sentence(self) -> str:
        over = f"{self.confidence:.0%} interval over {count(self.images, 'image')} that the search never scored"
        over += f" and {count(self.seeds, 'fresh seed')}"
        if self.winner:
            won = self.winner
            return (
                f"trial {won.trial} beats the base recipe beyond noise: {self.metric} {won.score:.3f} against "
                f"{self.base_score:.3f}, {won.difference:+.3f} ({won.lower:+.3f} to {won.upper:+.3f}, {over})"
            )
        best, trials = self.compared[0], len(self.compared)
        beaten, who = "the best trial does not beat", f"trial {best.trial}"
        if trials > 1:
            beaten, who = f"none of the {trials} best trials beats", f"the best, trial {best.trial},"
        if self.seeds == 1 or self.images == 1:
            lacks, kinds = ("one seed", "images") if self.seeds == 1 else ("one image", "seeds")
            more = "confirm.seeds=3 can" if self.seeds == 1 else "more val images can"
            return (
                f"not confirmed: {lacks} cannot tell a gain from luck ({more}); {who} has {self.metric} "
                f"{best.score:.3f} against {self.base_score:.3f}, {best.difference:+.3f} ({best.lower:+.3f} to "
                f"{best.upper:+.3f} by the {kinds} alone, {over})"
            )
        return (
            f"nothing to gain: {beaten} the base recipe beyond noise; {who} has {self.metric} {best.score:.3f} against "
            f"{self.base_score:.3f}, {best.difference:+.3f} ({best.lower:+.3f} to {best.upper:+.3f}, {over})"
        )

    def as_json(self) -> dict[str, Any]:
        winner = self.winner
        return asdict(self) | {"sentence": self.sentence(), "winner": winner.trial if winner else None}


def weigh(
    base: Sequence[Matches],
    trials: Mapping[int, Sequence[Matches]],
    *,
    samples: int,
    confidence: float,
    metric: str = "AP",
    seed: int = 0,
) -> Evidence:
    """base and each trial have the matches of S trainings, of the same seeds in the same order, on the same images.

    Two kinds of luck are added up: of the images, by a bootstrap that draws the same ones for both, and of the seeds.
    A bootstrap over three seeds would call a winner among equals four times as often as it may. So the scatter of the
    seeds is pooled over the base recipe and all trials, as in a comparison of several treatments with a control
    (Dunnett, 1955), and the interval is Student's with the degrees of freedom of Welch and Satterthwaite. Of several
    trials the best is chosen after the fact, so each interval is as much wider (Bonferroni).
    """
    num_seeds, num_images = len(base), len(base[0][0].wanted)
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, num_images, num_images), minlength=num_images) for _ in range(samples)]

    def scores(runs: Sequence[Matches], weights: Weights | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([average_precision(run, weights, metric) for run in runs])

    groups = {0: scores(base)} | {number: scores(runs) for number, runs in trials.items()}
    of_base = np.array([scores(base, weights).mean() for weights in draws])
    level = (1 - confidence) / max(len(trials), 1)
    compared = []
    for number, runs in trials.items():
        difference = float(groups[number].mean() - groups[0].mean())
        drawn = np.array([scores(runs, weights).mean() for weights in draws]) - of_base
        half = half_width(list(groups.values()), float(drawn.var()), num_images, level)
        compared.append(
            Compared(number, float(groups[number].mean()), difference, difference - half, difference + half)
        )
    compared.sort(key=lambda one: -one.difference)
    base_seeds = tuple(map(float, groups[0]))
    mean = float(np.mean(base_seeds))
    return Evidence(mean, base_seeds, tuple(compared), confidence, num_seeds, num_images, metric)


def half_width(
    groups: Sequence[np.ndarray[Any, np.dtype[np.float64]]], image_variance: float, num_images: int, level: float
) -> float:
    """Of the interval of the difference between the means of two of the groups, which leaves out a share of level.

    Each group has the scores of S trainings that differ by their seed alone; of one there is no telling how seeds
    differ, and the interval is of the images alone. image_variance is that of the difference, over the images.
    """
    from scipy import stats

    num_seeds = len(groups[0])
    freedom = len(groups) * (num_seeds - 1)
    scatter = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom if freedom else 0.0
    seed_variance = 2 * scatter / num_seeds
    variance = seed_variance + image_variance
    if not variance:
        return 0.0
    parts = ((seed_variance, freedom), (image_variance, num_images - 1))
    effective = variance**2 / sum(part**2 / free for part, free in parts if part and free)
    return float(stats.t.ppf(1 - level / 2, effective) * variance**0.5)
