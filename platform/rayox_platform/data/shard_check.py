"""Whether shards are still what was written: every file against the manifest's size and SHA-256."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from rayox_platform.data.shards import MANIFEST, Manifest, ShardFile, read_manifest
from rayox_platform.storage.folders import Folder

_PIECE_BYTES = 1 << 23


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file."""

    name: str
    what: str  # missing, extra, cut short, too long, changed, or why it cannot be read


def verify_shards(folder: Folder, progress: Callable[[int, int], None] | None = None) -> tuple[Manifest, list[Fault]]:
    """Read every file once; `progress(done, total)` is told of bytes.

    Raises DataError if there is no manifest, or a damaged one.
    """
    manifest = read_manifest(folder)
    there = folder.files()
    total = sum(file.num_bytes for file in manifest.files)
    faults, done = [], 0
    for file in manifest.files:
        what = _fault(folder, file, there.get(file.name))
        if what:
            faults.append(Fault(file.name, what))
        done += file.num_bytes
        if progress is not None:
            progress(done, total)
    known = {MANIFEST, *(file.name for file in manifest.files)}
    return manifest, faults + [Fault(name, "extra: not in the manifest") for name in sorted(there.keys() - known)]


def _fault(folder: Folder, file: ShardFile, num_bytes: int | None) -> str | None:
    if num_bytes is None:
        return "missing"
    if num_bytes != file.num_bytes:
        how = "cut short" if num_bytes < file.num_bytes else "too long"
        return f"{how}: {num_bytes:,} bytes instead of {file.num_bytes:,}"
    sha = hashlib.sha256()
    try:
        for start in range(0, num_bytes, _PIECE_BYTES):
            sha.update(folder.read_range(file.name, start, min(_PIECE_BYTES, num_bytes - start)))
    except OSError as error:
        return f"cannot be read ({error})"
    return None if sha.hexdigest() == file.sha256 else "changed: its SHA-256 is not the manifest's"
