"""SOURCE of `rayox predict`: an image file, a folder or a glob, as a list of images with names and ids."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath

from rayox_model.core.errors import DataError
from rayox_platform.data.walking import Tell, files_under, say_nothing

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")  # 64 bits, as COCO's readers have them


@dataclass(frozen=True)
class InputImage:
    """One image to be looked at."""

    path: Path
    name: str  # relative to SOURCE, with forward slashes
    image_id: int
    drawing: str  # its picture's name, relative to the folder of pictures


def find_images(source: str, drawings: Path, tell: Tell = say_nothing) -> list[InputImage]:
    """The images of SOURCE in the order of their names; those under `drawings`, of an earlier run, are left out.

    A folder is searched with all its folders, linked ones too, for files with a usual image suffix that are not hidden;
    `tell` hears of folders that cannot be read. A glob takes the files it matches with such a suffix, and what is in
    folders it matches; a single file is taken whatever its name. What exists under exactly that name is not a glob, nor
    is a folder at its beginning. image_id is the stem if every stem is a whole number and no two are the same, as COCO
    names its files; else it counts from 1.
    Raises DataError if there is no such path, and if it holds no image.
    """
    base, names = _names(source, tell)
    if not names:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{source}: no image there", f"images are the files that end in {suffixes}")
    names = sorted(name for name in set(names) if not _is_under(base / name, drawings))
    if not names:
        raise DataError(f"{source}: lies in {drawings}, where the drawn images go", "name another folder by -o")
    return [
        InputImage(base / name, name, image_id, drawing)
        for name, image_id, drawing in zip(names, _image_ids(names), _drawing_names(names), strict=True)
    ]


def _names(source: str, tell: Tell) -> tuple[Path, list[str]]:
    """A folder, and the images by their names in it."""
    path = Path(source).expanduser()
    if os.path.isfile(path):
        return path.parent, [path.name]
    if os.path.isdir(path):
        return path, _images_under(path, tell)
    base, pattern = _split_glob(path)
    if not any(map(glob.has_magic, pattern)):
        raise DataError(f"{source}: no such file or folder", "give an image, a folder of images or a quoted glob")
    matched = [name for name in _matching(base, pattern, tell) if name]
    folders = [name for name in matched if (base / name).is_dir()]
    inside = [f"{name}/{image}" for name in folders for image in _images_under(base / name, tell)]
    return base, [*(name for name in matched if _is_image(base / name)), *inside]


def _split_glob(path: Path) -> tuple[Path, list[str]]:
    """The longest folder at the beginning that is there under exactly that name, and the parts of the pattern."""
    parts = path.parts
    depth = next((end for end in range(len(parts) - 1, 0, -1) if os.path.isdir(Path(*parts[:end]))), 0)
    return Path(*parts[:depth]), list(parts[depth:])


def _matching(base: Path, pattern: list[str], tell: Tell) -> list[str]:
    """Names in base; `**` is any number of folders, linked ones too, none twice on one way down."""
    if "**" not in pattern:
        return glob.glob("/".join(pattern), root_dir=base)
    wanted = [*pattern, "*"] if pattern[-1] == "**" else pattern
    return [name for name in files_under(base, tell=tell) if _matches(name.split("/"), wanted)]


def _matches(names: list[str], pattern: list[str]) -> bool:
    """A hidden name matches only what begins with a dot, as in a shell."""
    if not names or not pattern:
        return not names and not pattern
    first, hidden = pattern[0], names[0].startswith(".")
    if first == "**":
        return _matches(names, pattern[1:]) or (not hidden and _matches(names[1:], pattern))
    return (
        fnmatch.fnmatchcase(names[0], first)
        and (not hidden or first.startswith("."))
        and _matches(names[1:], pattern[1:])
    )


def _images_under(folder: Path, tell: Tell) -> list[str]:
    return [name for name in files_under(folder, hidden=False, tell=tell) if _has_image_suffix(name)]


def _is_image(path: Path) -> bool:
    return _has_image_suffix(path.name) and path.is_file()


def _has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _is_under(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _image_ids(names: list[str]) -> list[int]:
    stems = [PurePosixPath(name).stem for name in names]
    if all(_WHOLE_NUMBER.fullmatch(stem) for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))


def _drawing_names(names: list[str]) -> list[str]:
    """Each name as .jpg; where a.jpg is taken by another image, the whole name with .jpg behind it, or a number."""
    taken: set[str] = set()
    chosen = []
    for name in map(PurePosixPath, names):
        free = next(str(one) for one in _candidates(name) if str(one).casefold() not in taken)
        taken.add(free.casefold())
        chosen.append(free)
    return chosen


def _candidates(name: PurePosixPath) -> Iterator[PurePosixPath]:
    numbered = (name.with_name(f"{name.stem}-{number}.jpg") for number in count(2))
    return chain([name.with_suffix(".jpg"), name.with_name(f"{name.name}.jpg")], numbered)
