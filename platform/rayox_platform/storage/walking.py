"""Every file under a folder of this machine, links followed."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_under(folder: Path, hidden: bool = True) -> Iterator[str]:
    """Names relative to the folder, with forward slashes, in no order; `hidden=False` leaves out `.names`.

    Linked folders are entered, but none twice on one way down: a link to a folder above would never end. Folders that
    cannot be read are left out, as `find` does.
    """
    yield from _below(folder, "", hidden, frozenset((_identity(folder),)))


def _below(folder: Path, prefix: str, hidden: bool, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
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
                yield from _below(Path(entry.path), f"{name}/", hidden, above | {identity})


def _identity(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
