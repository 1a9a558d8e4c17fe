"""Dataclasses of several kinds as JSON objects that name theirs: events, entries for MLflow, records of a ledger."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rayox_platform.runs.journal import sealed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class TaggedUnion(Generic[T]):
    """Writes and reads records of these kinds; tag makes the `kind` in the JSON from a class's name."""

    def __init__(self, kinds: Iterable[type[T]], tag: Callable[[str], str] = snake_case) -> None:
        self._tags = {kind: tag(kind.__name__) for kind in kinds}
        self._kinds = {tag: (kind, {one.name for one in fields(kind)}) for kind, tag in self._tags.items()}

    def tag(self, record: T) -> str:
        return self._tags[type(record)]

    def to_json(self, record: T) -> dict[str, Any]:
        return {"kind": self.tag(record), **asdict(record)}

    def from_json(self, given: Mapping[str, Any]) -> T:
        """A field that this version does not know is ignored.

        Raises KeyError for a kind that it does not know, and TypeError where a field is missing.
        """
        kind, names = self._kinds[given["kind"]]
        return kind(**{name: value for name, value in given.items() if name in names})

    def known(self, given: Iterable[Mapping[str, Any]]) -> list[T | None]:
        """Each as from_json gives it; None for what is not a record, or one of another version of rayox."""
        return [self._known(one) for one in given]

    def _known(self, given: Mapping[str, Any]) -> T | None:
        try:
            return self.from_json(given)
        except (KeyError, TypeError):
            return None

    def to_line(self, record: T) -> bytes:
        """As JSON, with its checksum."""
        return sealed(self.to_json(record))
