"""The default store after its state folder was moved or copied: the absolute paths in its database follow it.

MLflow writes the place of each experiment's files into the database once. In a folder that has another path now they
would lead to the old one: entries would never be sent, and models never found.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow_moved_state(database: Path, state: Path) -> int:
    """Let a database that rayox made point into the state folder it lies in now; how many places were changed.

    Only one process may do it at a time. A database that cannot be read is left to MLflow, which says what is wrong.
    """
    changed = 0
    if database.is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            for before in _other_roots(connection, state):
                for table, column in PLACES:
                    changed += connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (state.as_uri(), len(before) + 1, len(before) + 1, f"{before}/"),
                    ).rowcount
    return changed


def _other_roots(connection: sqlite3.Connection, state: Path) -> set[str]:
    """State folders, as addresses, that experiments point into and that this one has taken the place of."""
    roots = set()
    for name, location in connection.execute("SELECT name, artifact_location FROM experiments"):
        here = f"/artifacts/{quote(name)}"
        root = str(location).removesuffix(here)
        if root == location or not root.startswith("file:///") or root == state.as_uri():
            continue
        there = Path(unquote(location.removeprefix("file://")))
        if _is_same(there.parent.parent, state):
            continue  # by another name: a link
        if (state / "artifacts" / name).exists() or not there.exists():
            roots.add(root)
    return roots


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
