"""Ids as files have them: whole numbers, what some exporters write for them, and what else a reference can name."""

import re
from collections.abc import Hashable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
from jaxtyping import Int64

from rayox_platform.data.check.findings import Findings, short

_DIGITS = re.compile(r"-?[0-9]{1,18}")
_MANY_DIGITS = re.compile(r"-?[0-9]{19,100}")
_LIMIT = 2**63


def whole_number(value: Any) -> int | None:
    """3, and what means it (3.0, "3"), as 3; None for anything else, and beyond 64 bits."""
    if type(value) is int:
        return value if -_LIMIT <= value < _LIMIT else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return None


def reference(value: Any) -> Hashable:
    """What another record can name by this id: also text, a fraction or a number beyond 64 bits; None for nothing."""
    if type(value) is int:
        return value
    number = whole_number(value)
    if number is not None:
        return number
    if isinstance(value, str):
        return int(value) if _MANY_DIGITS.fullmatch(value) else value.strip() or None
    return value if isinstance(value, float) and value == value else None  # NaN equals nothing


def check_ids(kind: str, section: str, values: list[Any], findings: Findings) -> list[int | None]:
    """The ids of a section's records as numbers; those absent, inexact, negative and repeated become findings."""
    ids = [value if type(value) is int and 0 <= value < _LIMIT else whole_number(value) for value in values]
    for position, (value, number) in enumerate(zip(values, ids, strict=True)):
        if number is None:
            findings.add(f"invalid-{kind}-id", f"{section}[{position}]", _why_invalid(value))
        elif type(value) is not int:
            findings.add("inexact-id", f"{section}[{position}]", f"{kind} id {short(value)} is taken as {number}")
        elif number < 0:
            findings.add("negative-id", f"{section}[{position}]", f"{kind} id {number}")
    _find_repeated(kind, section, [reference(value) for value in values], findings)
    return ids


def _why_invalid(value: Any) -> str:
    if value is None:
        return "no id"
    beyond = isinstance(reference(value), int) and not isinstance(value, bool)
    return f"id {short(value)}" + (" is beyond 64 bits (at most 9223372036854775807)" if beyond else "")


def _find_repeated(kind: str, section: str, keys: Sequence[Hashable], findings: Findings) -> None:
    known = [key for key in keys if key is not None]
    if len(set(known)) == len(known):
        return
    first: dict[Hashable, int] = {}
    for position, key in enumerate(keys):
        if key is not None and first.setdefault(key, position) != position:
            where = f"{section}[{position}]"
            findings.add(f"duplicate-{kind}-id", where, f"id {short(key)} again, first in {section}[{first[key]}]")


def renumbered(
    ids: Sequence[int | None], keys: Sequence[Hashable], referred_to: Int64[np.ndarray, "N"]
) -> list[int | None]:
    """The ids, and new ones from the highest on for odd ones that references agree on.

    `referred_to` are the positions that the N references name, −1 for a reference to nothing: while there is one, an
    odd id that nothing else refers to may be the one that was meant, and gets none.
    """
    all_agree, named = bool((referred_to >= 0).all()), set(referred_to.tolist())
    of_key = {keys[position] for position in named if position >= 0}
    fresh = fresh_ids(ids)
    given: dict[Hashable, int] = {}
    numbered = list(ids)
    for position, (number, key) in enumerate(zip(ids, keys, strict=True)):
        if number is None and key is not None and (all_agree or key in of_key):
            given[key] = given[key] if key in given else next(fresh)
            numbered[position] = given[key]
    return numbered


def fresh_ids(ids: Sequence[int | None]) -> Iterator[int]:
    """Numbers that are not among the ids: above the highest, or from 1 where the highest is the last that fits."""
    taken = {number for number in ids if number is not None}
    highest = max(taken, default=0)
    start = max(highest, 0) + 1 if highest < _LIMIT // 2 else 1
    return (number for number in count(start) if number not in taken)
