"""A run's checkpoints, the same for a folder and a bucket: written whole or not at all, chosen, fetched, pruned."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rayox_model.checkpoint.checkpoint_folder import best_checkpoint, prune
from rayox_model.checkpoint.snapshot import Facts, Snapshot, Verified, verify, write_checkpoint
from rayox_model.core.errors import ModelError


@dataclass(frozen=True)
class Chosen:
    """The newest checkpoint that is whole: chosen and verified once for a start, then handed on."""

    name: str
    checkpoint: Verified
    among: frozenset[str]  # names of all that there were, whole or not
    skipped: tuple[str, ...] = ()  # why later ones were not taken

    @property
    def facts(self) -> Facts:
        """Raises ModelError for a format that only a newer rayox reads."""
        return self.checkpoint.facts


def say_nothing(reason: str) -> None:
    """For those who need not know which checkpoints were skipped."""


def choose_newest(
    names: Iterable[str], verified: Callable[[str], Verified], tell: Callable[[str], None]
) -> Chosen | None:
    """Like Checkpoints.choose, among these names; verified raises ModelError for one to skip: it is not whole."""
    among, skipped = frozenset(names), list[str]()
    for name in sorted(among, reverse=True):
        try:
            return Chosen(name, verified(name), among, tuple(skipped))
        except ModelError as error:
            skipped.append(f"{error.message}; going back to the one before")
            tell(skipped[-1])
    return None


class Checkpoints(Protocol):
    """Their names begin with step-N (see step_of). Storage that cannot be reached raises OSError everywhere."""

    def write(self, snapshot: Snapshot) -> str:
        """Write a checkpoint, replacing one of the same step; its name."""
        ...

    def names(self) -> frozenset[str]:
        """The names of all there are, whole or not."""
        ...

    def choose(self, tell: Callable[[str], None] = say_nothing) -> Chosen | None:
        """The one with the most steps that is whole; tell gets the reason for each skipped."""
        ...

    def newest(self) -> str | None:
        """The name of the one that would be chosen."""
        ...

    def best(self) -> str | None:
        """The name of the one of the highest AP, the latest of equals; None while none has been evaluated."""
        ...

    def fetch(self, name: str) -> Path:
        """A folder of this machine with the checkpoint in it, which whoever reads it verifies. Raises ModelError."""
        ...

    def verified(self, name: str) -> Verified:
        """Like fetch, and verified. Raises ModelError."""
        ...

    def prune(self, keep: int) -> None:
        """Remove all but the `keep` newest and the best, and what a crash left; only who writes may, between two."""
        ...

    def address(self, name: str) -> str:
        """Path or address, for people."""
        ...


@dataclass(frozen=True)
class FolderCheckpoints:
    """In a folder that every machine has: nothing is copied to fetch one."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def write(self, snapshot: Snapshot) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        return write_checkpoint(self.folder, snapshot).name

    def names(self) -> frozenset[str]:
        return frozenset(path.name for path in self.folder.glob("step-*"))

    def choose(self, tell: Callable[[str], None] = say_nothing) -> Chosen | None:
        return choose_newest(self.names(), self.verified, tell)

    def newest(self) -> str | None:
        chosen = self.choose()
        return chosen.name if chosen else None

    def best(self) -> str | None:
        found = best_checkpoint(self.folder)
        return found.name if found else None

    def fetch(self, name: str) -> Path:
        return self.folder / name

    def verified(self, name: str) -> Verified:
        return verify(self.folder / name)

    def prune(self, keep: int) -> None:
        prune(self.folder, keep)

    def address(self, name: str) -> str:
        return str(self.folder / name)
