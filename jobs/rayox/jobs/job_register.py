"""Which job of which cluster does what, noted by `submit` in the state folder so that `runs` finds it by name."""

import glob
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rayox_platform.storage.state import state_folder

FOLDER = "jobs"


@dataclass(frozen=True)
class Submitted:
    run: str  # its name: of a training the run, of another verb what `submit` has called it
    address: str  # of the dashboard
    submission_id: str
    storage: str
    noted: float = 0.0  # when it was submitted from here, or found
    status: str = ""  # as the cluster has given it once the job was over: asked for no more; empty until then
    exit_code: int | None = None  # of its driver then
    message: str = ""  # the end of what the cluster said
    began: float = 0.0
    ended: float = 0.0

    @property
    def verb(self) -> str:
        """The verb, which is part of the job's id."""
        return next(iter(self.submission_id.removeprefix("rayox-").split("-")))


def remember(run: str, address: str, submission_id: str, storage: str) -> None:
    """The newest job of a run; without an id what was known stays."""
    if submission_id:
        _write(Submitted(run, address, submission_id, storage, noted=time.time()))


def note_end(job: Submitted) -> None:
    """Keep how a job ended, for when its cluster is gone; unless a later one has taken its place meanwhile."""
    if any(one.submission_id == job.submission_id for one in submitted(job.run)):
        _write(job)


def submitted(run: str) -> list[Submitted]:
    """What was submitted from here under this name, the newest job for each storage, the one submitted last first."""
    folder = state_folder() / FOLDER
    found = _read([folder / f"{run}.json", *folder.glob(f"{glob.escape(run)}@*.json")])
    return [job for job in found if job.run == run]


def all_submitted() -> list[Submitted]:
    """The newest job of every name and storage, the one submitted last first."""
    return _read((state_folder() / FOLDER).glob("*.json"))


def _read(paths: Iterable[Path]) -> list[Submitted]:
    newest: dict[tuple[str, str], Submitted] = {}
    for path in paths:
        try:
            job = Submitted(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        before = newest.get((job.run, job.storage))
        if before is None or (before.noted, bool(before.status)) < (job.noted, bool(job.status)):
            newest[job.run, job.storage] = job
    return sorted(newest.values(), key=lambda job: (-job.noted, job.run))


def _write(job: Submitted) -> None:
    """A run of one name may be in each storage."""
    folder = state_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job.run}@{hashlib.sha256(job.storage.encode()).hexdigest()[:8]}.json"
    draft = path.with_suffix(".unfinished")
    draft.write_text(json.dumps(asdict(job)))
    draft.replace(path)
