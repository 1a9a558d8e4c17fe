"""What a campaign may set a setting to: a range or a choice, perhaps only when another one has a certain value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["float", "log", "int", "choice"]
KINDS: tuple[Kind, ...] = ("float", "log", "int", "choice")
Value = Any  # of a setting, as JSON


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One setting's part of the space."""

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Value, ...] = ()
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()  # other keys of the space and the values it is searched at

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """values are those of the dimensions before it."""
        return all(values.get(key) in wanted for key, wanted in self.when)

    def has(self, value: Value) -> bool:
        if self.kind == "choice":
            return value in self.choices
        is_step = is_number(value) and (self.kind != "int" or value == round(value))
        return is_step and bool(self.low <= value <= self.high)

    def places(self, value: Value) -> bool:
        """Whether a value has a place on the scale, be it beyond the ends; the base recipe's may be auto, none or 0."""
        if self.kind == "choice":
            return value in self.choices
        return is_number(value) and (self.kind != "log" or value > 0)

    def ends(self) -> list[Value]:
        """Every choice, or the lowest and the highest value."""
        if self.kind == "choice":
            return list(self.choices)
        return [int(end) if self.kind == "int" else float(end) for end in (self.low, self.high)]

    def points(self, count: int) -> list[Value]:
        """That many values spread evenly, or every choice."""
        if self.kind == "choice":
            return list(self.choices)
        shares = [number / (count - 1) for number in range(count)] if count > 1 else [0.5]
        return list(dict.fromkeys(self.at(share) for share in shares))

    def at(self, share: float) -> Value:
        """The value at a share of the range, 0 to 1; of choices, in their order."""
        if self.kind == "choice":
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        if self.kind == "log":
            return float(self.low * (self.high / self.low) ** share)
        if self.kind == "int":
            return round(self.low + share * (self.high - self.low))
        return float(self.low + share * (self.high - self.low))

    def share_of(self, value: Value) -> float:
        """Where a value that has a place lies: 0 to 1 in the range."""
        import math

        if self.kind == "choice":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        if self.high == self.low:
            return 0.5
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))


Space = Sequence[Dimension]


def is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def active(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of the dimensions that are searched with them; the others are left as the recipe has them."""
    found: dict[str, Value] = {}
    for dimension in space:
        if dimension.key in values and dimension.is_active(found):
            found[dimension.key] = values[dimension.key]
    return found
