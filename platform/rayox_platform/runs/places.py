"""All runs that the setting `storage` leads to: in a folder, or under a prefix of a bucket."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.home import BucketHome, FolderHome, RunHome
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.folders import SCHEMES, is_remote, open_folder
from rayox_platform.storage.state import CAMPAIGNS, runs_folder, state_folder


class Runs(Protocol):
    def home(self, name: str) -> RunHome: ...

    def names(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class FolderRuns:
    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def home(self, name: str) -> RunHome:
        return FolderHome(self.folder / name)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*") if path.is_dir() and path.name != CAMPAIGNS)


@dataclass(frozen=True)
class BucketRuns:
    bucket: Bucket
    state: Path  # where drivers' folders are

    def __str__(self) -> str:
        return str(self.bucket)

    def home(self, name: str) -> BucketHome:
        address = str(self.bucket)
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", address)
        place = f"{readable}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
        return BucketHome(self.bucket.under(name), self.state / "bucket-runs" / place / name)

    def names(self) -> list[str]:
        return [name for name in self.bucket.folders() if name != CAMPAIGNS]


def open_runs(storage: str | None) -> Runs:
    """Raises ConfigError for an address of another kind and for a bucket that is not there or cannot be read."""
    if storage is None:
        return FolderRuns(runs_folder(None))
    if not is_remote(storage):
        if "://" in storage:
            kinds = " or ".join(f"{scheme}bucket/prefix" for scheme in SCHEMES)
            raise ConfigError(
                f"storage: {storage!r} is not an address that rayox can write to", f"give a folder, {kinds}"
            )
        return FolderRuns(runs_folder(storage))
    bucket = open_folder(storage)
    assert isinstance(bucket, Bucket)
    if not bucket.prefix:
        raise ConfigError(f"storage: {storage!r} names no bucket", "give s3://bucket/prefix or gs://bucket/prefix")
    with storage_errors(storage, "read"):
        if not bucket.bucket_is_there:
            raise OSError("NO_SUCH_BUCKET: there is no such bucket")
        bucket.folders()
    return BucketRuns(bucket, state_folder())
