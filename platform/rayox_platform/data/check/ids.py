"""Ids as files have them: whole numbers, and what some exporters write for them."""

import re
from typing import Any

from rayox_platform.data.check.findings import Findings, short

_DIGITS = re.compile(r"-?[0-9]{1,18}")


def whole_number(value: Any) -> int | None:
    """3, and what means it (3.0, "3"), as 3; None for anything else, and beyond 64 bits."""
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return None


def check_ids(kind: str, section: str, values: list[Any], findings: Findings) -> list[int | None]:
    """The ids of a section's records as numbers; those absent, inexact, negative and repeated become findings."""
    ids = [value if type(value) is int and 0 <= value < 2**63 else whole_number(value) for value in values]
    for position, (value, number) in enumerate(zip(values, ids, strict=True)):
        if number is None:
            detail = "no id" if value is None else f"id {short(value)}"
            findings.add(f"invalid-{kind}-id", f"{section}[{position}]", detail)
        elif type(value) is not int:
            findings.add("inexact-id", f"{section}[{position}]", f"{kind} id {short(value)} is taken as {number}")
        elif number < 0:
            findings.add("negative-id", f"{section}[{position}]", f"{kind} id {number}")
    _find_repeated(kind, section, ids, findings)
    return ids


def _find_repeated(kind: str, section: str, ids: list[int | None], findings: Findings) -> None:
    known = [number for number in ids if number is not None]
    if len(set(known)) == len(known):
        return
    first: dict[int, int] = {}
    for position, number in enumerate(ids):
        if number is not None and first.setdefault(number, position) != position:
            where = f"{section}[{position}]"
            findings.add(f"duplicate-{kind}-id", where, f"id {number} again, first in {section}[{first[number]}]")
