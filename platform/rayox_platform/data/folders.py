"""Folders of files here or on an object store (s3://, gs://), with the few operations that data sets need.

They pickle as their address alone: each process makes its own connection, with the credentials of its environment.
"""

import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rayox_model.errors import ConfigError

from .object_store import bucket_filesystem
from .retry import retried

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyarrow.lib import NativeFile

SCHEMES = ("s3://", "gs://")


@dataclass(frozen=True)
class Stamp:
    """By what a file is known without reading it."""

    num_bytes: int
    modified_ns: int
    version: str  # the store's ETag; of a local file the time of its last change, which no tool sets back


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
        """Which of the names are no files of it, from listings, without a request for each."""
        ...

    def digest(self, name: str) -> bytes:
        """Tells whether a file's content is another; digest_method says of what it is."""
        ...

    @property
    def digest_method(self) -> str: ...

    @property
    def num_threads(self) -> int:
        """How many files are worth reading at once."""
        ...

    def put(self, local: Path, name: str) -> None:
        """Copy a local file into it, whole or not at all."""
        ...

    def remove(self, name: str) -> None: ...


def open_folder(address: str | Path) -> Folder:
    """From a path, s3://bucket/prefix or gs://bucket/prefix. Raises ConfigError for an address of another kind."""
    text = str(address)
    if is_remote(text):
        scheme, _, rest = text.partition("://")
        return Bucket(scheme, rest.strip("/"))
    if "://" in text:
        raise ConfigError(f"{text}: no kind of address rayox reads", "Give a folder, s3://bucket/prefix or gs://….")
    return LocalFolder(Path(text).expanduser())


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
    def digest_method(self) -> str:
        return "contents"

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
            os.chmod(unfinished, 0o644)
            os.replace(unfinished, target)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


def _names_of_files(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (OSError, ValueError):
        return set()


@dataclass(frozen=True)
class Bucket:
    """A prefix of an object store's bucket; what fails for a moment is tried again (see retry.py)."""

    scheme: str
    prefix: str  # with the bucket in front

    def __str__(self) -> str:
        return f"{self.scheme}://{self.prefix}"

    def path(self, name: str) -> str:
        return f"{self}/{name}"

    def exists(self) -> bool:
        """Stores know no folders: whether anything is under the prefix."""
        return bool(retried(lambda: self._files.get_file_info(self.prefix)).type.name == "Directory")

    def read(self, name: str) -> bytes:
        return retried(lambda: self._read(name))

    def read_range(self, name: str, start: int, num_bytes: int) -> bytes:
        return bytes(retried(lambda: _opened(self, name).read_at(num_bytes, start)))

    def _read(self, name: str) -> bytes:
        with self._files.open_input_file(self._key(name)) as file:
            content: bytes = file.read()
            wanted = file.size()
        if len(content) != wanted:
            raise OSError(f"{self.path(name)}: {len(content)} of {wanted} bytes came")
        return content

    def stamp(self, name: str) -> Stamp:
        return retried(lambda: self._stamp(name))

    def _stamp(self, name: str) -> Stamp:
        with self._files.open_input_file(self._key(name)) as file:
            facts = {key.lower(): value for key, value in (file.metadata() or {}).items()}
            return Stamp(file.size(), 0, facts.get("etag", b"").decode())

    def files(self) -> dict[str, int]:
        import pyarrow.fs

        under = pyarrow.fs.FileSelector(self.prefix, recursive=True, allow_not_found=True)
        found = retried(lambda: self._files.get_file_info(under))
        start = len(self.prefix) + 1
        return {file.path[start:]: file.size for file in found if file.type.name == "File"}

    def absent(self, names: Sequence[str]) -> list[int]:
        there = self.files()
        return [index for index, name in enumerate(names) if posixpath.normpath(name) not in there]

    def digest(self, name: str) -> bytes:
        stamp = self.stamp(name)
        return hashlib.sha256(f"{stamp.num_bytes} {stamp.version}".encode()).digest()

    @property
    def digest_method(self) -> str:
        return "sizes and ETags"

    @property
    def num_threads(self) -> int:
        return 16

    def put(self, local: Path, name: str) -> None:
        retried(lambda: self._put(local, name))

    def _put(self, local: Path, name: str) -> None:
        with local.open("rb") as source, self._files.open_output_stream(self._key(name)) as target:
            shutil.copyfileobj(source, target, 1 << 23)

    def remove(self, name: str) -> None:
        retried(lambda: self._files.delete_file(self._key(name)))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{posixpath.normpath(name)}"

    def open(self, name: str) -> "NativeFile":
        """For reading at any place."""
        return self._files.open_input_file(self._key(name))

    @property
    def _files(self) -> "FileSystem":
        return bucket_filesystem(self.scheme, self.prefix.partition("/")[0])


@lru_cache(maxsize=256)
def _opened(bucket: Bucket, name: str) -> "NativeFile":
    """Opening asks for the size: once a file, not once a piece."""
    return bucket.open(name)
