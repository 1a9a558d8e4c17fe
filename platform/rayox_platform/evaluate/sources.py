"""SOURCE of `rayox predict`: an image file, a folder or a glob, as a list of images with names and ids."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path, PurePosixPath

from rayox_model.core.errors import DataError

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


def find_images(source: str, drawings: Path) -> list[InputImage]:
    """The images of SOURCE in the order of their names; those under `drawings`, of an earlier run, are left out.

    A folder is searched with all its folders, for files with a usual image suffix that are not hidden; a glob takes
    the files it matches with such a suffix; a single file is taken whatever its name. image_id is the stem if every
    stem is a whole number and no two are the same one, as COCO names its files; else it counts from 1.
    Raises DataError if there is no such path, and if it holds no image.
    """
    base, paths = _paths(source)
    if not paths:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{source}: no image there", f"images are the files that end in {suffixes}")
    path_of = {path.relative_to(base).as_posix(): path for path in paths if not _is_under(path, drawings)}
    if not path_of:
        raise DataError(f"{source}: lies in {drawings}, where the drawn images go", "name another folder by -o")
    names = sorted(path_of)
    return [
        InputImage(path_of[name], name, image_id, drawing)
        for name, image_id, drawing in zip(names, _image_ids(names), _drawing_names(names), strict=True)
    ]


def _paths(source: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    path = Path(source).expanduser()
    if os.path.isfile(path):
        return path.parent, [path]
    if os.path.isdir(path):
        return path, [file for file in path.rglob("*") if _is_image(file) and not _is_hidden(file.relative_to(path))]
    if not glob.has_magic(source):
        raise DataError(f"{source}: no such file or folder", "give an image, a folder of images or a quoted glob")
    base = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    return base, [file for file in map(Path, glob.glob(str(path), recursive=True)) if _is_image(file)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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
