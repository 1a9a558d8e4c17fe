"""Permissions of files that a library makes private: as the umask says, like those of any other."""

import os
from pathlib import Path


def open_to_others(path: Path) -> None:
    """Give a file, or a folder, the permissions that one made here now would have. Raises OSError."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.mode")
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o777 if path.is_dir() else 0o666)
    try:
        path.chmod(os.fstat(descriptor).st_mode & 0o777)
    finally:
        os.close(descriptor)
        probe.unlink()
