"""A prefix of a bucket as a folder: on S3 (s3://) or Google's store (gs://), through Arrow's filesystems."""

import hashlib
import posixpath
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rayox_platform.storage.object_store import ELSEWHERE, bucket_filesystem, has_credentials
from rayox_platform.storage.retry import retried

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem
    from pyarrow.lib import NativeFile

COPY_BYTES = 1 << 23
NO_WORD = "No response body"
REFUSED = re.compile(r"ACCESS_DENIED|INTERNAL_FAILURE|HTTP status (301|400|403|500)")

T = TypeVar("T")


@dataclass(frozen=True)
class Stamp:
    """What tells one content of a file from another without reading it."""

    num_bytes: int
    modified_ns: int
    version: str  # the store's ETag; of a local file the time of its last change, which no tool sets back


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
        return bool(self._asked(lambda: self._files.get_file_info(self.prefix)).type.name == "Directory")

    def read(self, name: str) -> bytes:
        return self._asked(lambda: self._read(name))

    def read_range(self, name: str, start: int, num_bytes: int) -> bytes:
        return bytes(self._asked(lambda: _opened(self, name).read_at(num_bytes, start)))

    def _read(self, name: str) -> bytes:
        with self._files.open_input_file(self._key(name)) as file:
            content: bytes = file.read()
            wanted = file.size()
        if len(content) != wanted:
            raise OSError(f"{self.path(name)}: {len(content)} of {wanted} bytes came")
        return content

    def get(self, name: str, local: Path) -> None:
        """Copy a file of it to this machine."""
        self._asked(lambda: self._get(name, local))

    def _get(self, name: str, local: Path) -> None:
        with self._files.open_input_file(self._key(name)) as source, local.open("wb") as target:
            shutil.copyfileobj(source, target, COPY_BYTES)
            if target.tell() != source.size():
                raise OSError(f"{self.path(name)}: {target.tell()} of {source.size()} bytes came")

    def stamp(self, name: str) -> Stamp:
        return self._asked(lambda: self._stamp(name))

    def _stamp(self, name: str) -> Stamp:
        with self._files.open_input_file(self._key(name)) as file:
            facts = {key.lower(): value for key, value in (file.metadata() or {}).items()}
            return Stamp(file.size(), 0, facts.get("etag", b"").decode())

    def files(self) -> dict[str, int]:
        return {name: stamp.num_bytes for name, stamp in self.stamps().items()}

    def stamps(self) -> dict[str, Stamp]:
        """The stamp of every file under it, from one listing, so without ETags."""
        found = self._listed(recursive=True).items()
        return {name: Stamp(file.size, file.mtime_ns or 0, "") for name, file in found if file.type.name == "File"}

    def folders(self) -> list[str]:
        """The names right under it that have files under them."""
        if self.scheme == "gs":  # Arrow lists no folder of Google's store that is only a part of its files' names
            return sorted({name.partition("/")[0] for name in self.files() if "/" in name})
        return sorted(name for name, file in self._listed(recursive=False).items() if file.type.name == "Directory")

    def _listed(self, recursive: bool) -> "dict[str, FileInfo]":
        import pyarrow.fs

        under = pyarrow.fs.FileSelector(self.prefix, recursive=recursive, allow_not_found=True)
        found = self._asked(lambda: self._files.get_file_info(under))
        return {file.path[len(self.prefix) + 1 :]: file for file in found}

    def absent(self, names: Sequence[str]) -> list[int]:
        there = self.files()
        return [index for index, name in enumerate(names) if posixpath.normpath(name) not in there]

    def digest(self, name: str) -> bytes:
        return hashlib.sha256(self.read(name)).digest()

    @property
    def num_threads(self) -> int:
        return 16

    def put(self, local: Path, name: str) -> None:
        self._asked(lambda: self._put(local, name))

    def _put(self, local: Path, name: str) -> None:
        with local.open("rb") as source, self._files.open_output_stream(self._key(name)) as target:
            shutil.copyfileobj(source, target, COPY_BYTES)

    def write(self, name: str, content: bytes) -> None:
        self._asked(lambda: self._write(name, content))

    def _write(self, name: str, content: bytes) -> None:
        with self._files.open_output_stream(self._key(name)) as target:
            target.write(content)

    def has(self, name: str) -> bool:
        return bool(self._asked(lambda: self._files.get_file_info(self._key(name))).type.name == "File")

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._asked(lambda: self._files.delete_file(self._key(name)))

    def remove_all(self) -> None:
        """Everything under it."""
        if self.exists():  # of a prefix without files one store says it is not there, the other that something is wrong
            with suppress(FileNotFoundError):
                self._asked(lambda: self._files.delete_dir(self.prefix))

    def under(self, name: str) -> "Bucket":
        return Bucket(self.scheme, self._key(name))

    def _asked(self, work: Callable[[], T]) -> T:
        """What the store answers; after a refusal without a reason, ask again in a way that gets one."""
        try:
            return retried(work)
        except OSError as error:
            if self.scheme != "s3" or not REFUSED.search(str(error)):
                raise
            raise self._reason(error) from error

    def _reason(self, error: OSError) -> OSError:
        """An answer about one file has no text; the answer to a listing has."""
        import pyarrow.fs

        if not has_credentials():
            return OSError(f"CREDENTIALS: this environment has none, and the store says: {error}")
        if NO_WORD not in str(error) or ELSEWHERE in str(error):
            return error
        try:
            self._files.get_file_info(pyarrow.fs.FileSelector(self.prefix, allow_not_found=True))
        except OSError as reason:
            return reason
        return error

    @property
    def bucket_is_there(self) -> bool:
        return bool(self._asked(lambda: self._files.get_file_info(self._name)).type.name != "NotFound")

    @property
    def _name(self) -> str:
        return self.prefix.partition("/")[0]

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{posixpath.normpath(name)}"

    def open(self, name: str) -> "NativeFile":
        """For reading at any place."""
        return self._files.open_input_file(self._key(name))

    @property
    def filesystem(self) -> "FileSystem":
        """For others to read and write with; they try again by themselves."""
        return bucket_filesystem(self.scheme, self._name, attempts=5)

    @property
    def _files(self) -> "FileSystem":
        return bucket_filesystem(self.scheme, self._name)


@lru_cache(maxsize=256)
def _opened(bucket: Bucket, name: str) -> "NativeFile":
    """Opening asks for the size: once a file, not once a piece."""
    return bucket.open(name)
