"""A file's categories and images as columns, record by record, with findings for what is wrong."""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Int64

from rayox_platform.data.check.findings import Findings, short
from rayox_platform.data.check.ids import check_ids, reference
from rayox_platform.data.check.reading import Record
from rayox_platform.data.url_names import URL_KEY, name_from_url, names_as_in

MAX_PIXELS = 10_000_000  # no side is longer, as for training
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_ABSOLUTE = re.compile(r"[/\\]|~/|[a-zA-Z]:[/\\]")


def records_of(top: Record, section: str, findings: Findings) -> list[Record]:
    """The section's objects; anything else is left out and has no position."""
    value = top.get(section)
    if value is None or value == []:
        absent = "is not there" if section not in top else "is null" if value is None else "is empty"
        findings.add(f"no-{section}", "top level", f"{section} {absent}")
        return []
    if not isinstance(value, list):
        findings.add("malformed-section", section, f"a {type(value).__name__}")
        return []
    for position, record in enumerate(value):
        if not isinstance(record, dict):
            findings.add("malformed-record", f"{section}[{position}]", short(record))
    return [record for record in value if isinstance(record, dict)]


@dataclass(frozen=True)
class Categories:
    ids: list[int | None]
    keys: list[Hashable]  # what annotations can name them by, also where that is not an id
    names: list[str | None]
    supercategories: list[Any]

    @property
    def label_of(self) -> dict[Hashable, int]:
        """Position by key, of several the first."""
        return {key: place for place, key in reversed(list(enumerate(self.keys))) if key is not None}

    @property
    def class_list(self) -> list[str]:
        """Names in the order of the ids: what a detector of this file is trained for."""
        named = [(number, name) for number, name in zip(self.ids, self.names, strict=True) if number is not None]
        return [str(name) for _, name in sorted(named, key=lambda pair: pair[0])]


def check_categories(records: list[Record], findings: Findings) -> Categories:
    written = [record.get("id") for record in records]
    ids = check_ids("category", "categories", written, findings)
    names: list[str | None] = []
    for position, record in enumerate(records):
        name = record.get("name")
        where = f"categories[{position}]"
        if not isinstance(name, str) or not name.strip():
            findings.add("invalid-category-name", where, "no name" if name is None else f"name {short(name)}")
            name = None
        elif name != name.strip():
            findings.add("padded-category-name", where, f"name {short(name)}")
        names.append(name)
    _find_alike(names, findings)
    return Categories(ids, list(map(reference, written)), names, [record.get("supercategory") for record in records])


def _find_alike(names: list[str | None], findings: Findings) -> None:
    known = [name for name in names if name is not None]
    for name, count in Counter(known).items():
        if count > 1:
            findings.add("duplicate-category-name", "categories", f"{name!r} {count} times", count - 1)
    folded: dict[str, list[str]] = {}
    for name in dict.fromkeys(known):
        folded.setdefault(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    for alike in folded.values():
        if len(alike) > 1:
            findings.add("similar-category-names", "categories", " and ".join(map(repr, alike)), len(alike) - 1)


@dataclass(frozen=True)
class Images:
    """M images; a size is 0 where it is absent or impossible."""

    ids: list[int | None]
    keys: list[Hashable]  # what annotations can name them by, also where that is not an id
    file_names: list[str | None]  # None: not to be opened
    written_names: list[str | None]  # also what leads out of the folder, and addresses
    named_by_url: frozenset[int]  # positions
    heights: Int64[np.ndarray, "M"]
    widths: Int64[np.ndarray, "M"]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def index_of(self) -> dict[Hashable, int]:
        """Position by key, of several the first."""
        return {key: place for place, key in reversed(list(enumerate(self.keys))) if key is not None}

    def place(self, index: int) -> str:
        return f"images[{index}] ({self.file_names[index] or 'no file'})"

    def named_as_in(self, has: Callable[[str], bool]) -> "Images":
        """With names from addresses as they are in a folder, of which `has` tells the files."""
        places = [at for at in sorted(self.named_by_url) if self.file_names[at] is not None]
        names = dict(zip(places, names_as_in([str(self.file_names[at]) for at in places], has), strict=True))
        return replace(self, file_names=[names.get(at, name) for at, name in enumerate(self.file_names)])


def check_images(records: list[Record], findings: Findings) -> Images:
    written = [record.get("id") for record in records]
    ids = check_ids("image", "images", written, findings)
    by_url = [name_from_url(record.get(URL_KEY)) if record.get("file_name") is None else None for record in records]
    given = [record.get("file_name") if url is None else url for record, url in zip(records, by_url, strict=True)]
    for at, (record, url) in enumerate(zip(records, by_url, strict=True)):
        if url is not None:
            findings.add("file-name-from-url", f"images[{at}]", short(record[URL_KEY]))
    names = [_file_name(name, f"images[{at}]", findings) for at, name in enumerate(given)]
    sizes = [_size(record, f"images[{at}] ({names[at]})", findings) for at, record in enumerate(records)]
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        path = posixpath.normpath(name) if name is not None else None
        if path is not None and first.setdefault(path, at) != at:
            findings.add("duplicate-file-name", f"images[{at}]", f"{name!r} again, first in images[{first[path]}]")
    array = np.array(sizes, np.int64).reshape(-1, 2)
    return Images(
        ids=ids,
        keys=list(map(reference, written)),
        file_names=names,
        written_names=[name if isinstance(name, str) and name.strip() else None for name in given],
        named_by_url=frozenset(at for at, url in enumerate(by_url) if url is not None),
        heights=array[:, 0],
        widths=array[:, 1],
    )


def _file_name(name: Any, where: str, findings: Findings) -> str | None:
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        findings.add("invalid-file-name", where, "no file_name" if name is None else f"file_name {short(name)}")
        return None
    if is_url(name):
        findings.add("file-name-url", where, short(name))
        return None
    if _ABSOLUTE.match(name) or (".." in name and ".." in PureWindowsPath(name).parts):  # of both kinds of slashes
        findings.add("path-outside-images", where, short(name))
        return None
    if "\\" in name:
        findings.add("file-name-backslash", where, short(name))
    if posixpath.normpath(name) == "." or name.endswith("/"):
        findings.add("invalid-file-name", where, f"file_name {short(name)} is a folder")
        return None
    return name


def is_url(name: str) -> bool:
    return _URL.match(name) is not None


def _size(record: Record, where: str, findings: Findings) -> tuple[int, int]:
    given = {key: record.get(key) for key in ("height", "width")}
    sides = {key: side_length(value) for key, value in given.items()}
    wrong = [f"{key} {short(given[key])}" for key, side in sides.items() if side is None]
    if wrong:
        findings.add("invalid-image-size", where, ", ".join(wrong))
        return 0, 0
    if not all(sides.values()):
        findings.add("missing-image-size", where, ", ".join(f"{key} {given[key]}" for key in given if not sides[key]))
        return 0, 0
    return sides["height"] or 0, sides["width"] or 0


def side_length(value: Any) -> int | None:
    """Whole pixels; 0 where absent, None for what is not a length."""
    if value is None:
        return 0
    if type(value) not in (int, float) or not 0 <= value < MAX_PIXELS or value != int(value):
        return None
    return int(value)
