"""Whether the best trials beat the base recipe beyond luck: a paired bootstrap over images and over seeds.

S seeds, M images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rayox_platform.evaluate.matches import Matches, average_precision


@dataclass(frozen=True)
class Compared:
    """A trial against the base recipe, trained with the same fresh seeds."""

    trial: int
    AP: float  # mean over the seeds, on the images of the confirmation
    difference: float
    lower: float
    upper: float

    @property
    def is_better(self) -> bool:
        return self.lower > 0


@dataclass(frozen=True)
class Evidence:
    base_AP: float
    base_seeds: tuple[float, ...]  # AP of each
    compared: tuple[Compared, ...]  # the best first
    confidence: float
    seeds: int
    images: int

    @property
    def winner(self) -> Compared | None:
        """The one whose lead is largest among those that lead beyond noise."""
        return next((one for one in self.compared if one.is_better), None)

    def sentence(self) -> str:
        over = f"{self.confidence:.0%} interval over {self.images} images that the search never scored"
        over += f" and {self.seeds} fresh seed{'s' if self.seeds > 1 else ''}"
        if self.winner:
            won = self.winner
            return (
                f"trial {won.trial} beats the base recipe beyond noise: AP {won.AP:.3f} against {self.base_AP:.3f}, "
                f"{won.difference:+.3f} ({won.lower:+.3f} to {won.upper:+.3f}, {over})"
            )
        best, count = self.compared[0], len(self.compared)
        beaten, who = "the best trial does not beat", f"trial {best.trial}"
        if count > 1:
            beaten, who = f"none of the {count} best trials beats", f"the best, trial {best.trial},"
        return (
            f"nothing to gain: {beaten} the base recipe beyond noise; {who} has AP {best.AP:.3f} against "
            f"{self.base_AP:.3f}, {best.difference:+.3f} ({best.lower:+.3f} to {best.upper:+.3f}, {over})"
        )

    def as_json(self) -> dict[str, Any]:
        winner = self.winner
        return asdict(self) | {"sentence": self.sentence(), "winner": winner.trial if winner else None}


def weigh(
    base: Sequence[Matches], trials: Mapping[int, Sequence[Matches]], *, samples: int, confidence: float, seed: int = 0
) -> Evidence:
    """base and each trial have the matches of S trainings, of the same seeds in the same order, on the same images.

    Of several trials the best is chosen after the fact, so each interval is as much wider (Bonferroni). Few seeds
    seem to scatter less than they do: the intervals are stretched by √(S / (S − 1)).
    """
    num_seeds, num_images = len(base), len(base[0][0].wanted)
    rng = np.random.default_rng(seed)
    draws = [_draw(rng, num_images, num_seeds) for _ in range(samples)]
    of_base = _drawn(base, draws)
    base_seeds = tuple(average_precision(one) for one in base)
    level = (1 - confidence) / max(len(trials), 1)
    compared = []
    for number, runs in trials.items():
        mean = float(np.mean([average_precision(one) for one in runs]))
        difference = mean - float(np.mean(base_seeds))
        spread = (_drawn(runs, draws) - of_base) - difference
        stretch = (num_seeds / (num_seeds - 1)) ** 0.5 if num_seeds > 1 else 1.0
        lower, upper = np.quantile(spread, [level / 2, 1 - level / 2]) * stretch + difference
        compared.append(Compared(number, mean, difference, float(lower), float(upper)))
    compared.sort(key=lambda one: -one.difference)
    return Evidence(float(np.mean(base_seeds)), base_seeds, tuple(compared), confidence, num_seeds, num_images)


Draw = tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]  # (images [M], seeds [S])


def _draw(rng: np.random.Generator, num_images: int, num_seeds: int) -> Draw:
    """How often each image and each seed is drawn."""
    images = np.bincount(rng.integers(0, num_images, num_images), minlength=num_images)
    return images, np.bincount(rng.integers(0, num_seeds, num_seeds), minlength=num_seeds)


def _drawn(runs: Sequence[Matches], draws: Sequence[Draw]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The mean AP of the drawn seeds over the drawn images, of each draw."""
    found = []
    for images, seeds in draws:
        scores = [average_precision(run, images) * times for run, times in zip(runs, seeds, strict=True) if times]
        found.append(sum(scores) / seeds.sum())
    return np.array(found)
