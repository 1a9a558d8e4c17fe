"""Whether a campaign's constraints can be fulfilled at all, found before anything is trained."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rayox_platform.config.settings import nearest, settings
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.constraints import EQUALITY, read_constraint
from rayox_platform.tune.space import active
from rayox_platform.tune.space_check import WrongAt

DRAWS = 1000
FEWEST = 20  # of them: a trial's values are drawn at most 200 times
MOST_POINTS = 20_000  # of a grid that are looked at


def wrong_constraint(text: str) -> Iterator[WrongAt]:
    """What is wrong with the form of a constraint, and at which key."""
    rule, table = read_constraint(text), settings()
    if rule is None:
        yield "constraints", f"{text!r} is not `KEY <= KEY` or `KEY > NUMBER`"
        return
    if rule.is_of_text and rule.sign not in EQUALITY:
        yield "constraints", f"{text!r}: {rule.sign} compares numbers; a text or true and false go with == and !="
    for key in rule.keys:
        if key in table and not table[key].is_section:
            continue
        meant = nearest(key, table) if "." in key or rule.sign not in EQUALITY else None
        if key == rule.right and rule.sign in EQUALITY and not meant:
            yield (
                "constraints",
                f"{text!r}: {key} is not a setting; if it is text, write {rule.left} {rule.sign} '{key}'",
            )
        else:
            yield key, "no such setting" + (f"; did you mean {meant}?" if meant else "")


def unfulfilled(campaign: Campaign, base: Mapping[str, Any]) -> Iterator[str]:
    """What of the constraints no values of the space fulfil, or so few that a search would not find them.

    base are the recipe's values by their keys.
    """
    if not campaign.rules:
        return
    points = list(_points(campaign))
    fulfilled = [[rule.holds({**base, **point}) for rule in campaign.rules] for point in points]
    count = sum(map(all, fulfilled))
    is_grid = campaign.search.kind == "grid"
    if count >= (1 if is_grid else FEWEST):
        return
    drawn = f"the grid's {len(points)} points" if is_grid else f"{len(points)} points drawn over the space"
    never = [number for number in range(len(campaign.rules)) if not any(point[number] for point in fulfilled)]
    for number in never:
        rule = campaign.rules[number]
        fixed = [f"{key} is {base.get(key)} in the recipe" for key in rule.keys if key not in campaign.space]
        told = f" ({', '.join(fixed)})" if fixed else ""
        yield f"{str(rule)!r} holds at none of {drawn}{told}; widen the space or drop it"
    if not never:
        together = " and ".join(repr(str(rule)) for rule in campaign.rules)
        verb = "hold" if len(campaign.rules) > 1 else "holds"
        yield (
            f"{together} {verb} at {count or 'none'} of {drawn}, too few to find; "
            "narrow the space to where they can hold, or drop one"
        )


def _points(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """All points of a grid, or of a large one as many drawn; else points drawn over the space."""
    space, rng = campaign.dimensions, np.random.default_rng(campaign.search.seed)
    if campaign.search.kind != "grid":
        for _ in range(DRAWS):
            yield active(space, {one.key: one.at(float(rng.random())) for one in space})
        return
    axes = [one.points(campaign.search.points) for one in space]
    count = math.prod(map(len, axes))
    chosen = range(count) if count <= MOST_POINTS else (int(rng.integers(count)) for _ in range(MOST_POINTS))
    for index in chosen:
        place, values = index, {}
        for one, axis in zip(space, axes, strict=True):
            place, at = divmod(place, len(axis))
            values[one.key] = axis[at]
        yield active(space, values)
