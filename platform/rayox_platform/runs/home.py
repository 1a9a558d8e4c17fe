"""Where one run is kept: what all machines see of it, and the folder of its driver.

In a folder that all machines have, the two are one. Of a run in a bucket the driver's folder lies in the state folder
of its machine and can be lost: whoever resumes the run has all that is needed from the bucket.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rayox_platform.runs.bucket_events import BucketEvents
from rayox_platform.runs.bucket_lock import claim_holder, claimed_in_bucket
from rayox_platform.runs.events import FILE, Events, FileEvents
from rayox_platform.runs.outbox import FILES as SPOOL
from rayox_platform.runs.outbox import TARGET
from rayox_platform.runs.run_lock import check_writable, claimed, holder
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.folders import Folder, LocalFolder
from rayox_platform.storage.state import RESULT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pyarrow.fs import FileSystem

    from rayox_platform.runs.bucket_checkpoints import BucketCheckpoints
    from rayox_platform.runs.checkpoints import Checkpoints

CHECKPOINTS, EVENTS = "checkpoints", "events"


class RunHome(Protocol):
    """Pickles small, without credentials."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path:
        """The driver's own: its lock, and what it makes at the end."""
        ...

    @property
    def shared(self) -> Folder:
        """What all machines see: marks, stacks, the result."""
        ...

    @property
    def checkpoints(self) -> "Checkpoints": ...

    @property
    def events(self) -> Events: ...

    @property
    def ray_storage(self) -> "tuple[str, FileSystem | None]":
        """For Ray Train's own notes: a path, and the filesystem it is of."""
        ...

    def claim(self) -> "AbstractContextManager[None]":
        """Have it for this process alone. Raises ConfigError when another one has it or it cannot be written."""
        ...

    def check_writable(self) -> None:
        """Raises ConfigError where claiming it would because it cannot be written; nothing of it is left."""
        ...

    def holder(self) -> str | None:
        """Who has it, as "process 12 on host"; None when nobody has. Raises OSError."""
        ...

    def is_begun(self) -> bool:
        """Whether there is anything to tell of it. Raises OSError."""
        ...

    def changed_at(self) -> float:
        """In seconds since 1970."""
        ...

    def publish(self) -> None:
        """Let all see what the driver has made in its folder: the result last."""
        ...


@dataclass(frozen=True)
class FolderHome:
    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def shared(self) -> Folder:
        return LocalFolder(self.folder)

    @property
    def checkpoints(self) -> "Checkpoints":
        from rayox_platform.runs.checkpoints import FolderCheckpoints  # takes torch: a second that no listing needs

        return FolderCheckpoints(self.folder / CHECKPOINTS)

    @property
    def events(self) -> Events:
        return FileEvents(self.folder)

    @property
    def ray_storage(self) -> "tuple[str, FileSystem | None]":
        return str(self.folder / "ray"), None

    def claim(self) -> "AbstractContextManager[None]":
        return claimed(self.folder)

    def check_writable(self) -> None:
        check_writable(self.folder)

    def holder(self) -> str | None:
        return holder(self.folder)

    def is_begun(self) -> bool:
        return any((self.folder / name).exists() for name in (FILE, CHECKPOINTS, RESULT))

    def changed_at(self) -> float:
        return self.folder.stat().st_mtime

    def publish(self) -> None:
        """All see it already."""


@dataclass(frozen=True)
class BucketHome:
    bucket: Bucket  # the run's prefix
    folder: Path

    def __str__(self) -> str:
        return str(self.bucket)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def shared(self) -> Folder:
        return self.bucket

    @property
    def checkpoints(self) -> "BucketCheckpoints":
        from rayox_platform.runs.bucket_checkpoints import BucketCheckpoints

        return BucketCheckpoints(self.bucket.under(CHECKPOINTS))

    @property
    def events(self) -> Events:
        return BucketEvents(self.bucket.under(EVENTS))

    @property
    def ray_storage(self) -> "tuple[str, FileSystem | None]":
        return f"{self.bucket.prefix}/ray", self.bucket.filesystem

    @property
    def claims(self) -> Bucket:
        return self.bucket.under("claims")

    @contextmanager
    def claim(self) -> Iterator[None]:
        with claimed(self.folder, kept=TARGET), _claimed_for_all(self):  # what MLflow does not have yet is nowhere else
            yield

    def check_writable(self) -> None:
        check_writable(self.folder)
        mark = f".probe-{uuid.uuid4().hex[:12]}"
        with storage_errors(str(self), "written"):
            self.bucket.write(mark, mark.encode())
            self.bucket.remove(mark)

    def holder(self) -> str | None:
        return claim_holder(self.claims)

    def is_begun(self) -> bool:
        return not {CHECKPOINTS, EVENTS}.isdisjoint(self.bucket.folders()) or self.bucket.has(RESULT)

    def changed_at(self) -> float:
        return self.checkpoints.written_at()

    def publish(self) -> None:
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name[:1] != "."]
        made = [path for path in files if path.name not in SPOOL]
        for path in sorted(made, key=lambda path: path.name == RESULT):
            self.bucket.put(path, path.relative_to(self.folder).as_posix())


@contextmanager
def _claimed_for_all(home: BucketHome) -> Iterator[None]:
    """Like claimed_in_bucket; only a failure to claim is the setting's fault, not what happens while it is held."""
    with ExitStack() as stack:
        with storage_errors(str(home), "written"):
            stack.enter_context(claimed_in_bucket(home.name, home.claims))
        yield
