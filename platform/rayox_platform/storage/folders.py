"""Folders of files here or on an object store (s3://, gs://), with the few operations that data sets need.

They pickle as their address alone: each process makes its own connection, with the credentials of its environment.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from rayox_model.core.errors import ConfigError
from rayox_model.core.modes import open_to_others
from rayox_platform.storage.bucket import Bucket, Stamp

SCHEMES = ("s3://", "gs://")


@runtime_checkable
class Folder(Protocol):
    """Names in it are relative, with forward slashes. Reading raises OSError, as FileNotFoundError what is absent."""

    def path(self, name: str) -> str:
        """A file's full path or address, for messages."""
        ...

    def exists(self) -> bool: ...

    def read(self, name: str) -> bytes: ...

    def read_range(self, name: str, start: int, num_bytes: int) -> bytes: ...

    def stamp(self, name: str) -> Stamp: ...

    def files(self) -> dict[str, int]:
        """Every file under it with its size, from one listing."""
        ...

    def absent(self, names: Sequence[str]) -> list[int]:
        """Which of the names are not files of it, from listings, without a request for each."""
        ...

    def digest(self, name: str) -> bytes:
        """SHA-256 of a file's content, so that it is the same wherever the file lies."""
        ...

    @property
    def num_threads(self) -> int:
        """How many files are worth reading at once."""
        ...

    def put(self, local: Path, name: str) -> None:
        """Copy a local file into it, whole or not at all."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Make a file of these bytes, whole or not at all."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        ...


def open_folder(address: str | Path) -> Folder:
    """From a path, file:///path, s3://bucket/prefix or gs://bucket/prefix. Raises ConfigError for other addresses."""
    text = str(address).removeprefix("file://")
    if is_remote(text):
        scheme, _, rest = text.partition("://")
        return Bucket(scheme, rest.strip("/"))
    if "://" in text:
        raise ConfigError(
            f"{text}: rayox cannot read this kind of address", "Give a folder, s3://bucket/prefix or gs://…."
        )
    return LocalFolder(Path(text).expanduser())


def missing_bucket(folder: Folder) -> OSError | None:
    """Why something is not in a folder: there is no such bucket at all. Raises OSError of a store that is away."""
    if isinstance(folder, Bucket) and folder.prefix and not folder.bucket_is_there:
        return OSError("NO_SUCH_BUCKET: there is no such bucket")
    return None


def is_remote(address: str) -> bool:
    return address.startswith(SCHEMES)


def split_address(address: str | Path) -> tuple[str, str]:
    """The folder of a file's address, and its name."""
    if is_remote(str(address)):
        folder, _, name = str(address).rpartition("/")
        return folder, name
    path = Path(address).expanduser()
    return str(path.parent), path.name


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, or one that every machine has mounted."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def read_range(self, name: str, start: int, num_bytes: int) -> bytes:
        with (self.folder / name).open("rb") as file:
            return os.pread(file.fileno(), num_bytes, start)

    def stamp(self, name: str) -> Stamp:
        found = (self.folder / name).stat()
        return Stamp(found.st_size, found.st_mtime_ns, str(found.st_ctime_ns))

    def files(self) -> dict[str, int]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}

    def absent(self, names: Sequence[str]) -> list[int]:
        folders = {os.path.dirname(name) for name in names}
        there = {folder: _names_of_files(self.folder / folder) for folder in folders}
        return [n for n, (folder, base) in enumerate(map(os.path.split, names)) if base not in there[folder]]

    def digest(self, name: str) -> bytes:
        with (self.folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    @property
    def num_threads(self) -> int:
        return 2

    def put(self, local: Path, name: str) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=".unfinished-", dir=target.parent)
        os.close(handle)
        try:
            shutil.copyfile(local, unfinished)
            open_to_others(Path(unfinished))
            os.replace(unfinished, target)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(prefix="rayox-") as file:
            file.write(content)
            file.flush()
            self.put(Path(file.name), name)

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


def _names_of_files(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (OSError, ValueError):
        return set()
