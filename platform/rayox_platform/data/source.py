"""Where the encoded bytes of a data set's images come from: files of a folder or bucket; shards.py has another kind."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol, runtime_checkable

from rayox_model.core.errors import DataError
from rayox_platform.storage.folders import Folder, missing_bucket, open_folder
from rayox_platform.storage.object_store import explained


@runtime_checkable
class ImageSource(Protocol):
    """The bytes of image i of a data set. It is shipped to every worker, so it pickles small."""

    def where(self, index: int) -> str:
        """An image's path or address, for messages."""
        ...

    def read(self, index: int) -> bytes:
        """Raises DataError, naming the image, when it cannot be read."""
        ...

    def read_many(self, indices: Sequence[int]) -> list[bytes]:
        """The same of many, in their order, in fewer or parallel requests."""
        ...

    @property
    def num_threads(self) -> int:
        """How many images are worth reading at once."""
        ...

    def missing(self) -> list[int]:
        """The images that are not there, from listings, without a request for each."""
        ...

    def digest(self, index: int) -> bytes:
        """SHA-256 of an image's encoded bytes."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """Images that are files of their own."""

    folder: Folder
    names: Sequence[str]

    def where(self, index: int) -> str:
        return self.folder.path(self.names[index])

    def read(self, index: int) -> bytes:
        try:
            return self.folder.read(self.names[index])
        except (OSError, ValueError) as error:
            raise unreadable(self.where(index), error) from None

    def read_many(self, indices: Sequence[int]) -> list[bytes]:
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="read") as pool:
            return list(pool.map(self.read, indices))

    @property
    def num_threads(self) -> int:
        return self.folder.num_threads

    def missing(self) -> list[int]:
        try:
            return self.folder.absent(self.names)
        except OSError as error:
            raise unreadable(str(self.folder), error) from None

    def digest(self, index: int) -> bytes:
        try:
            return self.folder.digest(self.names[index])
        except (OSError, ValueError) as error:
            raise unreadable(self.where(index), error) from None


@dataclass(frozen=True)
class HeldSource:
    """A source of which some images have been read already, together; the others it reads when they are asked for."""

    source: ImageSource
    held: Mapping[int, bytes]

    @staticmethod
    def of(source: ImageSource, indices: Iterable[int]) -> "HeldSource":
        wanted = sorted(set(indices))
        return HeldSource(source, dict(zip(wanted, source.read_many(wanted), strict=True)))

    def where(self, index: int) -> str:
        return self.source.where(index)

    def read(self, index: int) -> bytes:
        return self.held[index] if index in self.held else self.source.read(index)

    def read_many(self, indices: Sequence[int]) -> list[bytes]:
        others = [index for index in indices if index not in self.held]
        found = dict(zip(others, self.source.read_many(others), strict=True))
        return [self.held[index] if index in self.held else found[index] for index in indices]

    @property
    def num_threads(self) -> int:
        return self.source.num_threads

    def missing(self) -> list[int]:
        return self.source.missing()

    def digest(self, index: int) -> bytes:
        return self.source.digest(index)


def folder_source(names: Sequence[str], where: Path | str, file: str) -> FolderSource:
    """Images of a folder or bucket by their names, which `file` lists.

    Raises DataError if there is no such folder or a name leads out of it.
    """
    folder = open_folder(where)
    try:
        exists = folder.exists()
    except OSError as error:
        raise unreadable(str(folder), error) from None
    if not exists:
        absent = missing_bucket(folder)
        if absent is not None:
            raise unreadable(str(folder), absent)
        raise DataError(f"{folder}: no such folder of images", "Give the folder the file names start from.")
    refuse_outside(names, file)
    return FolderSource(folder, names)


def unreadable(where: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{where}: no such image", "Check the folder of images and the file names.")
    said, hint = explained(error, "Check the file and its permissions.")
    return DataError(f"{where}: cannot be read ({said})", hint)


def refuse_outside(names: Iterable[str], file: str) -> None:
    for name in names:
        if (name[:1] in "/." or ".." in name or "\0" in name) and _leads_out(name):
            raise DataError(
                f"{file}: file_name {name!r} leads out of the folder of images",
                "Write file names relative to that folder.",
            )


def _leads_out(name: str) -> bool:
    return PurePath(name).is_absolute() or ".." in PurePath(name).parts or "\0" in name
