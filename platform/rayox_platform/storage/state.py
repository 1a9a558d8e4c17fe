"""Where rayox keeps what outlives a command on this machine."""

import os
from pathlib import Path

RESULT = "result.json"  # in a finished run's folder
CAMPAIGNS = "campaigns"  # lies beside runs where storage is named, and is not one


def state_folder() -> Path:
    """RAYOX_STATE, or .rayox in the working directory; always absolute, as workers run elsewhere."""
    return Path(os.environ.get("RAYOX_STATE") or ".rayox").absolute()


def runs_folder(storage: str | None) -> Path:
    """Where runs are kept, each in a folder of its name."""
    return Path(storage).expanduser().absolute() if storage else state_folder() / "runs"


def is_thrown_away(folder: Path) -> bool:
    """Whether it lies in the copy of a working folder that Ray makes for a job, and removes after it."""
    return "working_dir_files" in folder.absolute().parts
