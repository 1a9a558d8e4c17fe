"""Where campaigns are kept: beside the runs of the same storage, in a folder or under a prefix of a bucket."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.bucket_lock import claim_holder, claimed_in_bucket
from rayox_platform.runs.journal import Journal, Tell, open_journal, say_nothing
from rayox_platform.runs.places import BucketRuns, FolderRuns, open_runs
from rayox_platform.runs.run_lock import claimed, holder
from rayox_platform.storage.bucket import Bucket
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.folders import Folder, LocalFolder
from rayox_platform.storage.state import CAMPAIGNS
from rayox_platform.tune.ledger import NAME

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

STOP = "stop"  # a file that asks the driver to end


@dataclass(frozen=True)
class CampaignHome:
    name: str
    shared: Folder  # its own
    storage: str  # of its trials' runs, named in full

    def __str__(self) -> str:
        return str(self.shared)

    def journal(self, tell: Tell = say_nothing) -> Journal:
        return open_journal(self.shared, NAME, tell=tell)

    def is_begun(self) -> bool:
        """Whether it has a ledger. Raises OSError."""
        return any(name.partition(".")[0].partition("/")[0] == NAME for name in self.shared.files())

    def holder(self) -> str | None:
        """The process that drives it; None when none does. Raises OSError."""
        if isinstance(self.shared, Bucket):
            return claim_holder(self.shared.under("claims"))
        return holder(Path(str(self.shared)))

    def beside(self, name: str) -> "CampaignHome":
        """Another one of the same storage."""
        if isinstance(self.shared, Bucket):
            shared: Folder = Bucket(self.shared.scheme, f"{self.shared.prefix.rpartition('/')[0]}/{name}")
        else:
            shared = LocalFolder(Path(str(self.shared)).parent / name)
        return CampaignHome(name, shared, self.storage)

    @property
    def ray_storage(self) -> "tuple[str, FileSystem | None]":
        """For Ray Tune's own notes: a path, and the filesystem it is of."""
        if isinstance(self.shared, Bucket):
            return f"{self.shared.prefix}/ray", self.shared.filesystem
        return f"{self.shared}/ray", None

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Drive it from this process alone. Raises ConfigError when another one does."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._claimed())
            except ConfigError as error:
                message = error.message.replace("run ", "campaign ", 1).replace("being trained", "being driven")
                raise ConfigError(message, error.hint) from error
            yield

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        if isinstance(self.shared, Bucket):
            with ExitStack() as stack:
                with storage_errors(str(self), "written"):
                    stack.enter_context(claimed_in_bucket(self.name, self.shared.under("claims")))
                yield
        else:
            with claimed(Path(str(self.shared)), kept=f"{NAME}.jsonl"):
                yield

    def is_asked_to_stop(self) -> bool:
        """Whether somebody has asked the driver to end; a store that is away has not."""
        try:
            return self.shared.has(STOP)
        except OSError:
            return False

    def ask_to_stop(self) -> None:
        self.shared.write(STOP, b"")

    def take_back_stop(self) -> None:
        self.shared.remove(STOP)

    def write_json(self, name: str, content: Any) -> str:
        """The path or address of a file made of it."""
        self.shared.write(name, json.dumps(content).encode())
        return self.shared.path(name)


def campaign_home(storage: str | None, name: str) -> CampaignHome:
    """Raises ConfigError for a name that cannot be a folder's and for storage that cannot be read."""
    wrong = next((character for character in "/\0'\"`" if character in name), None)
    if wrong or name in ("", ".", ".."):
        raise ConfigError(f"name: {name!r} cannot be a campaign's name", "use letters, digits and dashes")
    runs = open_runs(storage)
    if isinstance(runs, BucketRuns):
        return CampaignHome(name, runs.bucket.under(f"{CAMPAIGNS}/{name}"), str(runs.bucket))
    assert isinstance(runs, FolderRuns)
    return CampaignHome(name, LocalFolder(_folder(storage, runs) / name), str(runs.folder))


def campaign_names(storage: str | None) -> list[str]:
    """All there are. Raises OSError."""
    runs = open_runs(storage)
    if isinstance(runs, BucketRuns):
        return runs.bucket.under(CAMPAIGNS).folders()
    assert isinstance(runs, FolderRuns)
    return sorted(path.parent.name for path in _folder(storage, runs).glob(f"*/{NAME}.jsonl"))


def find_campaign(storage: str | None, name: str) -> CampaignHome:
    """One that has begun. Raises ConfigError when there is none of that name."""
    home = campaign_home(storage, name)
    with storage_errors(str(home), "read"):
        if home.is_begun():
            return home
        names = ", ".join(campaign_names(storage)[:8])
    hint = f"there are: {names}" if names else "storage=… names another folder"
    raise ConfigError(f"{name}: no such campaign in {home.shared}".removesuffix(f"/{name}"), hint)


def _folder(storage: str | None, runs: FolderRuns) -> Path:
    return (runs.folder if storage else runs.folder.parent) / CAMPAIGNS
