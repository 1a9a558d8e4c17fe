"""What a trial's values must fulfil: `KEY OP KEY`, `KEY OP NUMBER` or `KEY == 'TEXT'`."""

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rayox_platform.config.settings import settings

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
EQUALITY = ("==", "!=")
WORD, TEXT = r"[a-z0-9_.+-]+", r"'[^']*'|\"[^\"]*\""
FORM = re.compile(rf"\s*([a-z0-9_.]+)\s*(<=|>=|==|!=|<|>)\s*({WORD}|{TEXT})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Constraint:
    left: str  # a setting's key
    sign: str
    right: str | float | bool  # a setting's key, or what the left one is compared with
    is_key: bool = True  # whether right is one

    def __str__(self) -> str:
        if self.is_key:
            return f"{self.left} {self.sign} {self.right}"
        right = json.dumps(self.right).replace('"', "'") if self.is_of_text else format(self.right, "g")
        return f"{self.left} {self.sign} {right}"

    @property
    def keys(self) -> list[str]:
        return [self.left, str(self.right)] if self.is_key else [self.left]

    @property
    def is_of_text(self) -> bool:
        """Whether it compares with a text, or with true or false."""
        return not self.is_key and isinstance(self.right, str | bool)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """values are all settings of a trial by their keys.

        A text fulfils only == and !=. A setting that a trial has not, or that is unset, is not below or above anything,
        and no constraint of that kind refuses it.
        """
        left, right = values.get(self.left), values.get(str(self.right)) if self.is_key else self.right
        if self.sign in EQUALITY:
            return OPERATORS[self.sign](left, right)
        if left is None or right is None:
            return True
        if not all(isinstance(value, int | float) for value in (left, right)):
            return False
        return OPERATORS[self.sign](left, right)


def read_constraint(text: str) -> Constraint | None:
    """None when it is not of that form. A word that is no setting but a choice of the left one is a text."""
    found = FORM.fullmatch(text)
    if found is None:
        return None
    left, sign, right = found.groups()
    if right[0] in "'\"":
        return Constraint(left, sign, right[1:-1], is_key=False)
    try:
        return Constraint(left, sign, float(right), is_key=False)
    except ValueError:
        pass
    if right not in settings() and right in _choices(left):
        return Constraint(left, sign, _choices(left)[right], is_key=False)
    return Constraint(left, sign, right)


def _choices(key: str) -> Mapping[str, str | bool]:
    """The words that a setting takes, and what each stands for; none for one that takes other values."""
    schema = settings()[key].schema if key in settings() else {}
    words: dict[str, str | bool] = {}
    for kind in schema.get("anyOf", [schema]):
        words |= {str(one): one for one in kind.get("enum", [])}
        words |= {"true": True, "false": False} if kind.get("type") == "boolean" else {}
    return words
