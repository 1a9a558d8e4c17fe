"""Looking at image files: are they there, can they be decoded, how large are they, are two the same.

A range of images is one piece of work: threads share them on one machine, Ray tasks on several.
"""

import errno
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.images import decode_image
from rayox_platform.data.source import unreadable
from rayox_platform.data.walking import files_under
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.folders import Folder, open_folder

Depth = Literal["header", "digest", "decode"]  # each does what those before it do
Progress = Callable[[int, int], None]
Look = Callable[["ImageFolder", Sequence[str], Depth], list["FileFacts"]]

RAY_FROM_IMAGES = 20_000
HEAD_BYTES = 1 << 16  # of an image in a bucket, read at once
RANGE = 64  # images a piece of work; a Ray task takes several
_ORIENTATION_TAG = 0x0112
_PILLOW_REFUSES = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class FileFacts:
    """What a look at one file showed."""

    missing: bool = False
    instead: str = ""  # the one file that is there under a name close to the missing one: the rest is of that
    alike: tuple[str, ...] = ()  # several such files, or one that several names may mean
    broken: str = ""  # why it cannot be decoded
    size: tuple[int, int] | None = None  # (height, width) as viewers show it
    stored_size: tuple[int, int] | None = None  # without the EXIF orientation
    format: str = ""  # of the contents, as Pillow names it
    digest: bytes = b""  # of the contents


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images: a path, or an address like s3://bucket/folder. Raises DataError for one that cannot be."""

    root: str

    def exists(self) -> bool:
        try:
            return _folder(self.root).exists()
        except OSError as error:
            raise unreadable(self.root, error) from None

    def open(self, name: str) -> BinaryIO:
        """For reading at any place. Raises FileNotFoundError, or another OSError."""
        folder = _folder(self.root)
        if isinstance(folder, Bucket):  # Pillow reads a few bytes at a time, and hundreds of times what is not an image
            return io.BufferedReader(folder.open(name), HEAD_BYTES)
        return open(folder.path(name), "rb")

    def has(self, name: str) -> bool:
        return _folder(self.root).has(name)

    def files(self) -> list[str]:
        """Every file in it and in its folders. Raises DataError where they cannot be listed."""
        folder = _folder(self.root)
        try:
            return list(folder.files()) if isinstance(folder, Bucket) else list(files_under(Path(folder.path(""))))
        except OSError as error:
            raise unreadable(self.root, error) from None

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError, or another OSError."""
        return _folder(self.root).read(name)


@cache
def _folder(root: str) -> Folder:
    try:
        folder = open_folder(root)
    except ConfigError as error:
        raise DataError(f"{root}: no folder can be read there ({error.message})", error.hint) from None
    if isinstance(folder, Bucket) and not folder.prefix:
        raise DataError(f"{root}: no folder can be read there (it names no bucket)", "Check the address.")
    return folder


def look_at_range(folder: ImageFolder, names: Sequence[str], depth: Depth) -> list[FileFacts]:
    """The facts of these files, in their order: one piece of work."""
    return [look_at_file(folder, name, depth) for name in names]


def _look_at_range_quietly(folder: ImageFolder, names: Sequence[str], depth: Depth) -> list[FileFacts]:
    with _quiet():
        return look_at_range(folder, names, depth)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of odd metadata. Around all threads at once: what it sets is the process's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def look_at_file(folder: ImageFolder, name: str, depth: Depth) -> FileFacts:
    try:
        if depth == "header":
            with folder.open(name) as file:
                return _header(file)
        content = folder.read(name)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeEncodeError):
        return FileFacts(missing=True)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            return FileFacts(missing=True)
        return FileFacts(broken=getattr(error, "strerror", None) or str(error))
    facts = _header(io.BytesIO(content))
    broken, size, stored = facts.broken, facts.size, facts.stored_size
    if depth == "decode":
        try:
            height, width = decode_image(content, name).shape[:2]
            broken = ""
            if size is None:
                size = stored = (height, width)
        except DataError as error:
            broken = error.message.removeprefix(f"{name}: ")
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return FileFacts(broken=broken, size=size, stored_size=stored, format=facts.format, digest=digest)


def _header(file: BinaryIO) -> FileFacts:
    try:
        with Image.open(file) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)
            size = (width, height) if sideways else (height, width)
            return FileFacts(size=size, stored_size=(height, width), format=image.format or "")
    except _PILLOW_REFUSES as error:
        return FileFacts(broken="not an image" if "cannot identify" in str(error) else str(error))


def look_with_threads(
    folder: ImageFolder, names: Sequence[str], depth: Depth, progress: Progress | None = None
) -> list[FileFacts]:
    """All files on this machine, `progress(done, total)` after each range."""
    ranges = [names[start : start + RANGE] for start in range(0, len(names), RANGE)]
    done = 0
    if progress is not None and names:
        progress(0, len(names))
    with _quiet(), ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        work = [pool.submit(look_at_range, folder, part, depth) for part in ranges]
        for finished in as_completed(work):
            done += len(finished.result())
            if progress is not None:
                progress(done, len(names))
        return [facts for part in work for facts in part.result()]


def look_with_ray(
    folder: ImageFolder, names: Sequence[str], depth: Depth, progress: Progress | None = None
) -> list[FileFacts]:
    """All files as tasks of the Ray cluster this process is connected to; its machines must see the folder."""
    import ray

    size = 4 * RANGE
    task = ray.remote(num_cpus=1)(_look_at_range_quietly)
    work = [task.remote(folder, names[start : start + size], depth) for start in range(0, len(names), size)]
    done, waiting = 0, list(work)
    if progress is not None and names:
        progress(0, len(names))
    while waiting:
        finished, waiting = ray.wait(waiting)
        done += sum(len(part) for part in ray.get(finished))
        if progress is not None:
            progress(done, len(names))
    return [facts for part in ray.get(work) for facts in part]


def remembered(look: Look) -> Look:
    """The same, but no file is looked at twice."""
    known: dict[tuple[ImageFolder, str, Depth], FileFacts] = {}

    def look_once(folder: ImageFolder, names: Sequence[str], depth: Depth) -> list[FileFacts]:
        new = [name for name in dict.fromkeys(names) if (folder, name, depth) not in known]
        for name, facts in zip(new, look(folder, new, depth) if new else [], strict=True):
            known[folder, name, depth] = facts
        return [known[folder, name, depth] for name in names]

    return look_once
