"""All that rayox says to its user: one result, tables, notes and progress.

Under --json the last line of standard output is one JSON object and everything else goes to standard error.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import click

from rayox_model.core.finite import without_non_finite

json_option = click.option(
    "--json", "as_json", is_flag=True, help="End standard output with one JSON object; all else to standard error."
)
"""The option every verb takes, as the parameter `as_json`."""


@dataclass(frozen=True)
class Console:
    """Where a verb's words go."""

    as_json: bool = False

    @property
    def human(self) -> TextIO:
        return sys.stderr if self.as_json else sys.stdout

    def note(self, text: str) -> None:
        """Something on the way, never part of the result."""
        print(text, file=sys.stderr, flush=True)

    def text(self, text: str) -> None:
        """The result as people read it."""
        print(text, file=self.human, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under their columns; numbers to the right, fractions with three digits."""
        self.text(format_table(columns, rows))

    def result(self, result: Mapping[str, object]) -> None:
        """The result as programs read it, printed under --json alone; numbers that are not finite become null."""
        if self.as_json:
            print_json(result)


def print_json(result: Mapping[str, object]) -> None:
    sys.stderr.flush()
    print(json.dumps(without_non_finite(result), allow_nan=False), flush=True)


def print_error(message: str, hint: str) -> None:
    """One message without a traceback; several findings each get a line of their own."""
    print(f"error:\n{message}" if "\n" in message else f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    sys.stderr.flush()


def format_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns two spaces apart, without trailing spaces."""
    cells = [list(columns)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [_is_numeric([row[place] for row in rows]) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_numeric(values: Sequence[object]) -> bool:
    return bool(values) and all(isinstance(value, int | float | None) for value in values)
