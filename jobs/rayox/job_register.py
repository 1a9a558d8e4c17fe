"""Which job of which cluster does what, noted by `submit` in the state folder so that `runs` finds it by name."""

import json
import time
from dataclasses import asdict, dataclass

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
    now = submitted(job.run)
    if now is not None and now.submission_id == job.submission_id:
        _write(job)


def submitted(run: str) -> Submitted | None:
    """What was submitted from here under this name."""
    try:
        return Submitted(**json.loads((state_folder() / FOLDER / f"{run}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def all_submitted() -> list[Submitted]:
    """The newest job of every name, the one submitted last first."""
    found = [submitted(path.stem) for path in (state_folder() / FOLDER).glob("*.json")]
    return sorted([job for job in found if job is not None], key=lambda job: (-job.noted, job.run))


def _write(job: Submitted) -> None:
    folder = state_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job.run}.json"
    draft = path.with_suffix(".unfinished")
    draft.write_text(json.dumps(asdict(job)))
    draft.replace(path)
