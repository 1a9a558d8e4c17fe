"""Collecting findings: one a code, with how often and the first places."""

from dataclasses import dataclass, replace

from rayox_platform.data.check.finding_kinds import KIND_OF, KINDS, Severity

EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """What is wrong, how often, where first, and what to do."""

    code: str
    severity: Severity
    where: str
    count: int
    detail: str
    fix: str
    fixed: str | None = None  # how a mended copy is rid of it; None: it is not, or none was asked for

    def with_fix(self, fixed: str | None) -> "Finding":
        return replace(self, fixed=fixed)


@dataclass
class _Places:
    count: int
    shown: int  # of the count
    where: list[str]
    details: list[str]


class Findings:
    """Places by code, in the order of the table of kinds."""

    def __init__(self) -> None:
        self._places: dict[str, _Places] = {}

    def add(self, code: str, where: str, detail: str, count: int = 1) -> None:
        """One place (or `count` of them, of which this is the first)."""
        places = self._places.setdefault(code, _Places(0, 0, [], []))
        places.count += count
        if len(places.where) < EXAMPLES:
            places.shown += count
            places.where.append(where)
            places.details.append(detail)

    def __contains__(self, code: str) -> bool:
        return code in self._places

    def all(self) -> list[Finding]:
        """One finding a code: errors first, then in the order of the table of kinds."""
        found = []
        for code in (kind.code for kind in KINDS if kind.code in self._places):
            kind, places = KIND_OF[code], self._places[code]
            more = places.count - places.shown
            found.append(
                Finding(
                    code=code,
                    severity=kind.severity,
                    where=_printable("; ".join(dict.fromkeys(places.where))) + (f"; … {more} more" if more else ""),
                    count=places.count,
                    detail=_printable("; ".join(dict.fromkeys(places.details))),
                    fix=kind.fix,
                )
            )
        return sorted(found, key=lambda finding: finding.severity)


def _printable(text: str) -> str:
    """What a terminal would act on, or cannot show, as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def short(value: object) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
