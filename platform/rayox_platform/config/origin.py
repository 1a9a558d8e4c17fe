"""Where a value comes from, and what is found wrong with it there."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Rank(IntEnum):
    """Who overrules whom: the higher."""

    DEFAULT = 0
    ENVIRONMENT = 1  # a variable that other programs read too
    EXTENDS = 2
    FILE = 3
    ENV = 4  # a variable of rayox's own
    COMMAND_LINE = 5


class Origin(NamedTuple):
    rank: Rank
    place: str = ""  # the file's name or the environment variable's
    line: int = 0  # of the file, from 1
    packaged: bool = False  # of a file that comes with rayox
    note: str = ""  # what was made of the value since

    @property
    def is_the_user_s(self) -> bool:
        """Whether somebody has set it for this run or recipe, on this machine."""
        return self.rank >= Rank.EXTENDS and not self.packaged

    @property
    def where(self) -> str:
        """The place, as error messages begin with it."""
        match self.rank:
            case Rank.DEFAULT:
                return "default"
            case Rank.ENVIRONMENT:
                return f"environment {self.place}"
            case Rank.EXTENDS | Rank.FILE:
                return f"{self.place}:{self.line}" if self.line else self.place
            case Rank.ENV:
                return f"env {self.place}"
            case Rank.COMMAND_LINE:
                return "command line"

    def __str__(self) -> str:
        text = f"extends {self.where}" if self.rank is Rank.EXTENDS else self.where
        return f"{text}, {self.note}" if self.note else text


class Value(NamedTuple):
    value: object  # as JSON
    origin: Origin


Layer = Mapping[str, Value]  # by dotted key


class Finding(NamedTuple):
    """One thing wrong, as one line."""

    origin: Origin
    key: str  # empty when it is about a whole file
    message: str

    def __str__(self) -> str:
        about = f"{self.key}: " if self.key else ""
        return f"{self.origin.where}  {about}{self.message}"


class ReadLayer(NamedTuple):
    """What one source sets, with what could not be read of it."""

    values: Layer
    findings: tuple[Finding, ...] = ()
