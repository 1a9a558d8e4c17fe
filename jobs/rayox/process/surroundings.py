"""What a process needs around it: a folder for temporary files and a home, replaced where those named are none."""

import os
import pwd
import tempfile
from pathlib import Path

from rayox_model.core.errors import ConfigError


def make_usable() -> None:
    """Let TMPDIR and HOME name folders that can be written; a process that is started from here inherits them.

    In a container of a number without a name HOME is often unset or /, where Ray and MLflow cannot keep what they need.
    Raises ConfigError if no folder for temporary files can be used.
    """
    try:
        temporary = tempfile.gettempdir()  # the first that can be written of TMPDIR, TEMP, TMP, /tmp …
    except FileNotFoundError as error:
        raise ConfigError(f"TMPDIR: {error.strerror}", "set TMPDIR to a folder that can be written") from error
    if "TMPDIR" in os.environ and os.environ["TMPDIR"] != temporary:
        os.environ["TMPDIR"] = temporary
    if not _is_home(os.environ.get("HOME", "")):
        os.environ["HOME"] = _home(temporary)


def _home(temporary: str) -> str:
    try:
        named = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's number without a name
        named = ""
    if _is_home(named):
        return named
    made = Path(temporary) / f"rayox-{os.getuid()}" / "home"
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    return str(made)


def _is_home(folder: str) -> bool:
    return folder not in ("", "/") and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
