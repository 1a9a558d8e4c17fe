"""A run's checkpoints, the same for a folder and a bucket: written whole or not at all, chosen, fetched, pruned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rayox_model.checkpoint.checkpoint_folder import best_checkpoint, newest_checkpoint, prune
from rayox_model.checkpoint.snapshot import Snapshot, write_checkpoint


def say_nothing(reason: str) -> None:
    """For those who need not know which checkpoints were skipped."""


class Checkpoints(Protocol):
    """Their names begin with step-N (see step_of). Storage that cannot be reached raises OSError everywhere."""

    def write(self, snapshot: Snapshot) -> str:
        """Its name; one of the same step is replaced."""
        ...

    def newest(self, tell: Callable[[str], None] = say_nothing) -> str | None:
        """The name of the one with the most steps that is whole; tell gets the reason for each skipped."""
        ...

    def best(self) -> str | None:
        """The name of the one of the highest AP, the latest of equals; None while none has been evaluated."""
        ...

    def fetch(self, name: str) -> Path:
        """A folder of this machine with the checkpoint in it, which whoever reads it verifies. Raises ModelError."""
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

    def newest(self, tell: Callable[[str], None] = say_nothing) -> str | None:
        found = newest_checkpoint(self.folder, tell)
        return found.name if found else None

    def best(self) -> str | None:
        found = best_checkpoint(self.folder)
        return found.name if found else None

    def fetch(self, name: str) -> Path:
        return self.folder / name

    def prune(self, keep: int) -> None:
        prune(self.folder, keep)

    def address(self, name: str) -> str:
        return str(self.folder / name)
