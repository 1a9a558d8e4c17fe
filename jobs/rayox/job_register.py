"""Which job of which cluster trains a run, noted by `submit` in the state folder so that `runs` finds it by name."""

import json
from dataclasses import asdict, dataclass

from rayox_platform.storage.state import state_folder

FOLDER = "jobs"


@dataclass(frozen=True)
class Submitted:
    run: str
    address: str  # of the dashboard
    submission_id: str
    storage: str


def remember(run: str, address: str, submission_id: str, storage: str) -> None:
    """The newest job of a run; without an id what was known stays."""
    if not submission_id:
        return
    folder = state_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run}.json"
    draft = path.with_suffix(".unfinished")
    draft.write_text(json.dumps(asdict(Submitted(run, address, submission_id, storage))))
    draft.replace(path)


def submitted(run: str) -> Submitted | None:
    """What was submitted from here under this name."""
    try:
        return Submitted(**json.loads((state_folder() / FOLDER / f"{run}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
