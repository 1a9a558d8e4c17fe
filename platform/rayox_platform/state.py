"""Where rayox keeps what outlives a command on this machine."""

import os
from pathlib import Path


def state_folder() -> Path:
    """RAYOX_STATE, or .rayox in the working directory; always absolute, as workers run elsewhere."""
    return Path(os.environ.get("RAYOX_STATE") or ".rayox").absolute()
