"""Whether a campaign's space fits the settings it searches: every key, every end of a range, every choice."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rayox_platform.config.load import setting_at
from rayox_platform.config.rules import ConflictError
from rayox_platform.config.settings import KIND, Settings, nearest, settings
from rayox_platform.config.tree import Config
from rayox_platform.tune.space import KINDS

WrongAt = tuple[str, str]  # (key of the space, what is wrong)
NOT_SEARCHED = (
    "name",
    "storage",
    "tracking",
    "notify",
    "data",
    "model.init",
    "train.seed",
    "train.epochs",
    "train.workers",
    "train.max_failures",
)


def with_values(base: Config, values: Mapping[str, Any]) -> Config:
    """The base recipe with a trial's values, checked whole as a recipe is. Raises pydantic's ValidationError."""
    tree = base.model_dump(mode="json") | {"notify": {}}  # a masked address is none
    for key, value in sorted(values.items(), key=lambda item: not item[0].endswith(f".{KIND}")):
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section[part]
        if name == KIND and section[name] != value:
            section.clear()  # the settings of another kind do not go with it
        section[name] = value
    return Config.model_validate_json(json.dumps(tree), strict=True)


def wrong_entries(space: Mapping[str, Any]) -> Iterator[WrongAt]:
    """What is wrong with the form of the space, without the base recipe."""
    table = settings()
    for key, given in space.items():
        found = _wrong_key(key, table) or _wrong_form(key, given, table)
        if found:
            yield key, found
            continue
        for other in given.get("when") or {}:
            if other not in space:
                yield key, f"when: {other} is not a setting of the space"
            elif other == key:
                yield key, "when: it cannot depend on itself"


def _wrong_key(key: str, table: Settings) -> str | None:
    if not key or key not in table:
        meant = nearest(key, table)
        return "no such setting" + (f"; did you mean {meant}?" if meant else "")
    if table[key].is_section:
        return "is a section; name one of its settings"
    if any(key == fixed or key.startswith(f"{fixed}.") for fixed in NOT_SEARCHED):
        return "cannot be searched: it is the same for all trials of a campaign"
    return None


def _wrong_form(key: str, given: Any, table: Settings) -> str | None:
    forms = "{float: [low, high]}, {log: [low, high]}, {int: [low, high]} or {choice: [a, b, …]}"
    kinds = [name for name in given if name in KINDS] if isinstance(given, Mapping) else []
    if len(kinds) != 1:
        return f"is not one of {forms}"
    others = [name for name in given if name not in (*KINDS, "when")]
    if others:
        return f"has {others[0]!r}, which is neither a range nor `when`"
    if not isinstance(given.get("when") or {}, Mapping):
        return "when: is not {KEY: value or [values]}"
    return _wrong_values(key, kinds[0], given[kinds[0]], table)


def _wrong_values(key: str, kind: str, values: Any, table: Settings) -> str | None:
    if not isinstance(values, list) or len(values) < 2:
        return f"{kind}: {json.dumps(values)} is not " + ("a list of choices" if kind == "choice" else "[low, high]")
    if kind == "choice":
        return "choice: one of them stands there twice" if len({json.dumps(v) for v in values}) < len(values) else None
    if len(values) != 2 or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return f"{kind}: {json.dumps(values)} is not [low, high], two numbers"
    low, high = values
    if low >= high:
        return f"{kind}: [{low}, {high}] has its larger end first; write [{high}, {low}]"
    whole = all(isinstance(value, int) for value in values)
    if kind == "int" and not whole:
        return f"int: [{low}, {high}] are not whole numbers; use float"
    if kind == "log" and low <= 0:
        return f"log: {low} is not above 0"
    if kind != "int" and table[key].takes.startswith("a whole number"):
        return f"takes {table[key].takes.replace('a whole number', 'whole numbers')}; write {{int: [low, high]}}"
    return None


def wrong_ends(base: Config, key: str, ends: Sequence[Any], needed: Mapping[str, Any]) -> Iterator[str]:
    """What the settings refuse of the ends of a range or of its choices; needed are the values its condition asks."""
    table = settings()
    for value in ends:
        try:
            with_values(base, {**needed, key: value})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, ConflictError):
                    yield from (conflict.message for conflict in cause.conflicts if key in conflict.keys)
                elif setting_at(detail["loc"], table) == key:
                    shown = repr(value) if isinstance(value, str) else json.dumps(value)
                    yield str(cause) if isinstance(cause, ValueError) else f"{shown} is not {table[key].takes}"
