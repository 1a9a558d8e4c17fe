"""Every file under a folder of this machine, links followed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

Tell = Callable[[str, OSError], None]


def say_nothing(folder: str, error: OSError) -> None:
    """For those who need not know which folders could not be read."""


def files_under(folder: Path, hidden: bool = True, tell: Tell = say_nothing) -> Iterator[str]:
    """Names relative to the folder, with forward slashes, in no order; `hidden=False` leaves out `.names`.

    Linked folders are entered, but none twice on one way down: a link to a folder above would never end. Folders that
    cannot be read are left out, and told.
    """
    yield from _below(folder, "", hidden, tell, frozenset((_identity(folder),)))


def _below(folder: Path, prefix: str, hidden: bool, tell: Tell, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        tell(str(folder), error)
        return
    for entry in entries:
        if entry.name.startswith(".") and not hidden:
            continue
        name = f"{prefix}{entry.name}"
        if entry.is_file():
            yield name
        elif entry.is_dir():
            identity = _identity(Path(entry.path))
            if identity not in above:
                yield from _below(Path(entry.path), f"{name}/", hidden, tell, above | {identity})


def _identity(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
