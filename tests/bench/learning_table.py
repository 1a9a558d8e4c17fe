"""Recorded learning curves as a stand-in for trainings: what a setting came to, epoch by epoch, once and for all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayox_platform.tune.space import Space


@dataclass(frozen=True)
class Recorded:
    values: Mapping[str, Any]
    curve: Sequence[float]  # the metric after each epoch


@dataclass(frozen=True)
class LearningTable:
    """Curves of drawn settings; the first is the base recipe's."""

    space: Space
    recorded: Sequence[Recorded]
    base_curves: Sequence[Sequence[float]] = ()  # of the base recipe with other seeds

    def curve(self, values: Mapping[str, Any]) -> list[float]:
        """That of the recorded setting which lies nearest in the space."""
        return list(min(self.recorded, key=lambda one: self._distance(one.values, values)).curve)

    @property
    def best(self) -> float:
        return max(one.curve[-1] for one in self.recorded)

    def _distance(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        return sum((_share(d, one) - _share(d, other)) ** 2 for d in self.space)


def _share(dimension: Any, values: Mapping[str, Any]) -> float:
    value = values.get(dimension.key)
    if value is None or not dimension.has(value):
        return 0.5
    return float(dimension.share_of(value))


def read_table(path: Path, space: Space) -> LearningTable:
    """As tests/bench/record_curves.py writes it."""
    content = json.loads(path.read_text())
    recorded = [Recorded(one["values"], one["curve"]) for one in content["recorded"]]
    return LearningTable(space, recorded, content.get("base_curves", ()))
