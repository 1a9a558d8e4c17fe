"""A campaign whose trainings are a formula, for what can be shown without any."""

import math
from collections.abc import Mapping
from typing import Any

from rayox_platform.config.tree import Config
from rayox_platform.tune.campaign import Campaign

SPACE = {
    "assigner.center_radius": {"float": [0.5, 3.5]},
    "assigner.top_k": {"int": [5, 20]},
    "assigner.iou_cost_weight": {"log": [0.5, 10]},
}
CONFIG = Config.model_validate(
    {"train": {"epochs": 9, "closing_epochs": 3, "warmup_epochs": 1}, "image_size": 64, "model": {"size": "nano"}}
)
BASE = CONFIG.model_dump(mode="json")


def campaign(kind: str = "promote", search: str = "tpe", trials: int = 12, seed: int = 0, **more: Any) -> Campaign:
    schedule = {"kind": kind} | more.pop("schedule", {})
    searcher = {"kind": search, "seed": seed} | more.pop("searcher", {})
    settings = {"space": SPACE, "search": searcher, "schedule": schedule}
    return Campaign.model_validate(settings | {"budget": {"trials": trials}} | more)


def quality(values: Mapping[str, Any]) -> float:
    """1 at its best, which is not where the base recipe is."""
    radius = (values["assigner.center_radius"] - 2.2) ** 2
    weight = math.log(values["assigner.iou_cost_weight"] / 4) ** 2 / 2
    return math.exp(-radius - weight - ((values["assigner.top_k"] - 14) / 10) ** 2)


def curve(values: Mapping[str, Any], epochs: int = 9) -> list[float]:
    return [quality(values) * (1 - math.exp(-epoch / 3)) for epoch in range(1, epochs + 1)]
