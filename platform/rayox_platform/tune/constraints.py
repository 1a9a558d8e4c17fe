"""What a trial's values must fulfil: `KEY OP KEY` or `KEY OP NUMBER`."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*([a-z0-9_.]+)\s*(<=|>=|==|!=|<|>)\s*([a-z0-9_.+-]+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Constraint:
    left: str  # a setting's key
    sign: str
    right: str | float  # a setting's key, or a number

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right if isinstance(self.right, str) else format(self.right, 'g')}"

    @property
    def keys(self) -> list[str]:
        return [self.left] + ([self.right] if isinstance(self.right, str) else [])

    def holds(self, values: Mapping[str, Any]) -> bool:
        """values are all settings of a trial by their keys; a text or unset setting fulfils only == and !=."""
        left, right = values[self.left], values[self.right] if isinstance(self.right, str) else self.right
        if self.sign in ("==", "!="):
            return OPERATORS[self.sign](left, right)
        if not all(isinstance(value, int | float) for value in (left, right)):
            return False
        return OPERATORS[self.sign](left, right)


def read_constraint(text: str) -> Constraint | None:
    """None when it is not of that form."""
    found = FORM.fullmatch(text)
    if found is None:
        return None
    left, sign, right = found.groups()
    try:
        return Constraint(left, sign, float(right))
    except ValueError:
        return Constraint(left, sign, right)
