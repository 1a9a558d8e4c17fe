"""Writing a data set's images and annotations as shards (shards.py says what they are).

All or nothing: the manifest comes last, and without it the folder counts for nothing and is filled anew.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.images import CocoImages
from rayox_platform.data.index import to_table, write_index
from rayox_platform.data.shards import FORMAT, INDEX, MANIFEST, PLACES, VERSION, Manifest, ShardFile, manifest_digest
from rayox_platform.storage.folders import Folder, LocalFolder

SHARD_BYTES = 192_000_000  # of images, after which a shard is closed: files of 192 to about 200 MB
GROUP_IMAGES = 64  # in a row group
_OURS = re.compile(r"shard-[0-9]{5,}\.parquet|index\.parquet|places\.parquet|\.unfinished-.*")


@dataclass(frozen=True)
class Places:
    """Where the images of a shard are in it."""

    start: list[int]
    num_bytes: list[int]
    sha256: list[bytes]


def write_shards(
    images: CocoImages,
    out: Folder,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a data set into an empty folder or prefix; `progress(done, total)` is told of images.

    The bytes are copied as they are, whole images or not. Raises ConfigError if something else is in the folder, and
    DataError for an image that cannot be read and a folder that cannot be written.
    """
    _refuse_occupied(out)
    local = out.folder if isinstance(out, LocalFolder) else None
    try:
        if local is not None:
            local.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=local) as scratch:
            manifest = _write_all(images, out, shard_bytes, progress, Path(scratch))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error})", "Check the address, its rights and its space.") from None
    return manifest


def _write_all(
    images: CocoImages,
    out: Folder,
    shard_bytes: int,
    progress: Callable[[int, int], None] | None,
    scratch: Path,
) -> Manifest:
    dataset = replace(images.dataset, source="")  # a path of this machine is of no use elsewhere
    table = to_table(dataset, {})
    files: list[ShardFile] = []
    all_places: list[Places] = []
    done = 0
    for number, groups in enumerate(_shards(images, shard_bytes, progress)):
        local = scratch / f"shard-{number:05d}.parquet"
        all_places.append(_write_shard(table.slice(done), groups, local))
        files.append(_put(local, out, len(all_places[-1].start)))
        done += len(all_places[-1].start)
    write_index(dataset, scratch / INDEX, {})
    pq.write_table(_places_table(all_places), scratch / PLACES)
    files += [_put(scratch / name, out, 0) for name in (INDEX, PLACES)]
    manifest = Manifest(
        tuple(files),
        len(images),
        len(images.dataset.labels),
        sum(sum(places.num_bytes) for places in all_places),
    )
    _write_manifest(manifest, images.dataset.classes, out, scratch / MANIFEST)
    return manifest


def _shards(
    images: CocoImages, shard_bytes: int, progress: Callable[[int, int], None] | None
) -> Iterator[Iterator[list[bytes]]]:
    """For each shard its row groups of encoded images; a shard is to be read to its end before the next."""
    starts = iter(range(0, len(images), GROUP_IMAGES))

    def groups(first: int) -> Iterator[list[bytes]]:
        num_bytes, start = 0, first
        while True:
            end = min(start + GROUP_IMAGES, len(images))
            group = images.source.read_many(range(start, end))
            yield group
            if progress is not None:
                progress(end, len(images))
            num_bytes += sum(map(len, group))
            if num_bytes >= shard_bytes or (start := next(starts, -1)) < 0:
                return

    while (first := next(starts, -1)) >= 0:
        yield groups(first)


def _write_shard(table: pa.Table, groups: Iterator[list[bytes]], path: Path) -> Places:
    """One Parquet file, read back to learn, and to check, where the bytes of each image are."""
    digests: list[bytes] = []
    schema = table.schema.append(pa.field("sha256", pa.binary(32))).append(pa.field("bytes", pa.binary(), False))
    with pq.ParquetWriter(path, schema, compression="NONE", use_dictionary=False, write_statistics=False) as writer:
        for group in groups:
            rows = table.slice(len(digests), len(group))
            sha256 = [hashlib.sha256(content).digest() for content in group]
            columns = [*rows.columns, pa.array(sha256, pa.binary(32)), pa.array(group, pa.binary())]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(group))
            digests += sha256
    return _find(path, digests)


def _find(path: Path, digests: Sequence[bytes]) -> Places:
    """Parquet stores a plain value as its length in 4 bytes, then itself."""
    places = Places([], [], [])
    with pq.ParquetFile(path) as file, path.open("rb") as raw:
        for number in range(file.num_row_groups):
            column = file.metadata.row_group(number).column(file.metadata.num_columns - 1)
            raw.seek(column.data_page_offset)
            chunk, position = raw.read(column.total_compressed_size), 0
            for content in file.read_row_group(number, ["bytes"])["bytes"].to_pylist():
                position = chunk.find(len(content).to_bytes(4, "little") + content, position) + 4
                assert position >= 4, f"{path}: an image is not stored plainly"
                places.start.append(column.data_page_offset + position)
                places.num_bytes.append(len(content))
                places.sha256.append(hashlib.sha256(content).digest())
                position += len(content)
    if places.sha256 != list(digests):
        raise OSError(f"{path}: its contents are not what was written")
    return places


def _places_table(shards: Sequence[Places]) -> pa.Table:
    columns = {
        "shard": np.repeat(np.arange(len(shards), dtype=np.int64), [len(places.start) for places in shards]),
        "start": np.concatenate([np.array(places.start, np.int64) for places in shards]),
        "num_bytes": np.concatenate([np.array(places.num_bytes, np.int64) for places in shards]),
        "sha256": pa.array([digest for places in shards for digest in places.sha256], pa.binary(32)),
    }
    return pa.table(columns)


def _put(local: Path, out: Folder, num_images: int) -> ShardFile:
    with local.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found = ShardFile(local.name, local.stat().st_size, sha256, num_images)
    out.put(local, local.name)
    local.unlink(missing_ok=True)
    return found


def _write_manifest(manifest: Manifest, classes: Sequence[str], out: Folder, scratch: Path) -> None:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "images": manifest.num_images,
        "annotations": manifest.num_annotations,
        "image_bytes": manifest.image_bytes,
        "images_per_row_group": GROUP_IMAGES,
        "classes": list(classes),
        "files": [asdict(file) for file in manifest.files],
    }
    content["sha256"] = manifest_digest(content)
    scratch.write_text(json.dumps(content, indent=1))
    out.put(scratch, MANIFEST)


def _refuse_occupied(out: Folder) -> None:
    """Only what an interrupted sharding left may be there; it goes."""
    try:
        names = list(out.files()) if out.exists() else []
    except OSError as error:
        raise DataError(f"{out}: cannot be listed ({error})", "Check the address and its rights.") from None
    others = [name for name in names if not _OURS.fullmatch(name)]
    if MANIFEST in others:
        raise ConfigError(f"-o: {out} holds a data set already", "Name another folder, or remove that one.")
    if others:
        raise ConfigError(f"-o: {out} is not empty ({others[0]})", "Name an empty folder, or one that is not there.")
    for name in names:
        out.remove(name)
