"""Which file of a folder a written name may mean that is not there: another spelling, ending or number of folders.

A near miss counts only where exactly one file fits and no other name means it. Of two paths the shorter has to be the
end of the longer one: `val/1.png` is not `train/1.png`.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from rayox_platform.data.check.sections import is_url

IMAGE_ENDINGS = frozenset(
    (".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".ppm")
) | frozenset((".tif", ".tiff", ".webp"))

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """The file that a name means; without a `name`, the several that it may mean, or the one that several may mean."""

    name: str = ""
    alike: tuple[str, ...] = ()


def near_names(lost: Mapping[int, str], claimed: Collection[str], files: Iterable[str]) -> dict[int, Near]:
    """For each lost name, by its number, what of the files it may mean; none that another name has (`claimed`).

    Spelling is compared first, then without case, then without the ending of an image.
    """
    free = set(files) - set(claimed)
    found: dict[int, Near] = {}
    for spelled in (_same_text, _same_letters, _same_stem):
        open_names = {number: name for number, name in lost.items() if not found.get(number, Near()).name}
        matches = _matches(open_names, free, spelled)
        found |= matches
        free -= {near.name for near in matches.values()}
    return found


def _matches(lost: Mapping[int, str], free: Collection[str], spelled: Callable[[str], str]) -> dict[int, Near]:
    index = _Index(free, spelled)
    fitting = {number: index.fitting(name) for number, name in lost.items()}
    meant = Counter(names[0] for names in fitting.values() if len(names) == 1)
    return {
        number: Near(names[0]) if len(names) == 1 and meant[names[0]] == 1 else Near(alike=tuple(names))
        for number, names in fitting.items()
        if names
    }


@dataclass
class _Index:
    """Files by the spelling of their last part."""

    files: Collection[str]
    spelled: Callable[[str], str]
    by_last: dict[str, list[tuple[Parts, str]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for file in self.files:
            parts = self._parts(file)
            self.by_last[parts[-1]].append((parts, file))

    def fitting(self, name: str) -> list[str]:
        """The files that agree with most of its folders."""
        parts = self._parts(name)
        if not parts:
            return []
        shared = [(min(len(parts), len(other)), other, file) for other, file in self.by_last.get(parts[-1], [])]
        fit = [(length, file) for length, other, file in shared if parts[-length:] == other[-length:]]
        most = max((length for length, _ in fit), default=0)
        return sorted(file for length, file in fit if length == most)

    def _parts(self, name: str) -> Parts:
        *folders, last = parts_of(name) or ("",)
        return (*map(_same_letters, folders), self.spelled(last)) if last else ()


def parts_of(name: str) -> Parts:
    """Folders and file of a path of any system, or of a web address, without what leads nowhere."""
    path = urlsplit(name).path if is_url(name) else name
    parts = (part.strip() for part in unquote(path).replace("\\", "/").split("/"))
    return tuple(part for part in parts if part not in ("", ".", "..", "~") and not _is_drive(part))


def _is_drive(part: str) -> bool:
    return len(part) == 2 and part[1] == ":"


def _same_text(part: str) -> str:
    return unicodedata.normalize("NFC", part)


def _same_letters(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())


def _same_stem(part: str) -> str:
    path = PurePosixPath(_same_letters(part))
    return path.stem if path.suffix in IMAGE_ENDINGS else path.name


def look_alike(name: str, other: str) -> bool:
    """Whether two different names look the same on a screen."""
    forms = [" ".join(unicodedata.normalize("NFKC", text).split()) for text in (name, other)]
    return name != other and forms[0] == forms[1]
