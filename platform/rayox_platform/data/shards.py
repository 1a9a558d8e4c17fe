"""Reading a data set from shards: a few large Parquet files instead of a file an image.

A folder of shards holds
- `shard-00000.parquet` …: the images' encoded bytes with their annotations, 64 images a row group;
- `index.parquet`: all annotations once more, as index.py has them;
- `places.parquet`: in which shard, where and how long the bytes of each image are, and their SHA-256;
- `manifest.json`, written last: what the files are; without it there is no data set.

The bytes lie in the shards as they are, so one image is one small read of just them, at any place of any shard.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.images import CocoImages
from rayox_platform.data.index import BrokenIndex, array_of, read_index, read_parquet
from rayox_platform.data.source import unreadable
from rayox_platform.storage.folders import Folder, is_remote, open_folder

FORMAT = "rayox-shards"
VERSION = 1
MANIFEST, INDEX, PLACES = "manifest.json", "index.parquet", "places.parquet"
_GAP_BYTES, _MOST_BYTES = 1 << 18, 1 << 24  # that one request reads over, and reads in all
_AGAIN = "Run `rayox data verify` on the folder, then copy or make the named files again."


@dataclass(frozen=True)
class ShardFile:
    """What the manifest says of a file."""

    name: str
    num_bytes: int
    sha256: str
    num_images: int


@dataclass(frozen=True)
class Manifest:
    files: tuple[ShardFile, ...]
    num_images: int
    num_annotations: int
    image_bytes: int

    @property
    def shards(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.files if file.num_images)


@dataclass(frozen=True, eq=False)
class ShardSource:
    """Image i of a data set in shards; a read is checked against the digest the bytes were written with."""

    folder: Folder
    shards: tuple[str, ...]
    names: Sequence[str]
    shard: Int64[np.ndarray, "M"]
    start: Int64[np.ndarray, "M"]
    num_bytes: Int64[np.ndarray, "M"]
    sha256: UInt8[np.ndarray, "M 32"]

    def where(self, index: int) -> str:
        return f"{self._path(index)}: {self.names[index]}"

    def read(self, index: int) -> bytes:
        return self._checked(index, self._range(index, int(self.start[index]), int(self.num_bytes[index])))

    def read_many(self, indices: Sequence[int]) -> list[bytes]:
        """Neighbours in a shard come with one read."""
        order = sorted(range(len(indices)), key=lambda place: (self.shard[indices[place]], self.start[indices[place]]))
        found: list[bytes] = [b""] * len(indices)
        runs = self._runs([(place, indices[place]) for place in order])
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="read") as pool:
            for run in pool.map(self._read_run, runs):
                for place, content in run:
                    found[place] = content
        return found

    @property
    def num_threads(self) -> int:
        return self.folder.num_threads

    def missing(self) -> list[int]:
        absent = self.folder.absent(self.shards)
        return np.flatnonzero(np.isin(self.shard, absent)).tolist()

    def digest(self, index: int) -> bytes:
        """The digest of the content as written, which `read` and `rayox data verify` compare with."""
        return bytes(self.sha256[index])

    def _shard(self, index: int) -> str:
        return self.shards[int(self.shard[index])]

    def _path(self, index: int) -> str:
        return self.folder.path(self._shard(index))

    def _range(self, index: int, start: int, num_bytes: int) -> bytes:
        try:
            return self.folder.read_range(self._shard(index), start, num_bytes)
        except (OSError, ValueError) as error:
            raise unreadable(self.where(index), error) from None

    def _checked(self, index: int, content: bytes) -> bytes:
        if hashlib.sha256(content).digest() != bytes(self.sha256[index]):
            raise DataError(f"{self.where(index)}: the shard does not hold the bytes it was written with", _AGAIN)
        return content

    def _runs(self, ordered: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        """(place, index) pairs that are near enough for one read."""
        run: list[tuple[int, int]] = []
        for pair in ordered:
            if run and not self._near(run[0][1], run[-1][1], pair[1]):
                yield run
                run = []
            run.append(pair)
        if run:
            yield run

    def _near(self, first: int, last: int, index: int) -> bool:
        gap = self.start[index] - (self.start[last] + self.num_bytes[last])
        whole = self.start[index] + self.num_bytes[index] - self.start[first]
        return bool(self.shard[index] == self.shard[last] and gap <= _GAP_BYTES and whole <= _MOST_BYTES)

    def _read_run(self, run: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
        first = int(self.start[run[0][1]])
        end = max(int(self.start[index] + self.num_bytes[index]) for _, index in run)
        content = self._range(run[0][1], first, end - first)
        pieces = [(place, index, int(self.start[index]) - first) for place, index in run]
        return [
            (place, self._checked(index, content[start : start + int(self.num_bytes[index])]))
            for place, index, start in pieces
        ]


def is_sharded(address: str | Path) -> bool:
    """Whether an address is a folder of shards; asks an object store once. A store that does not answer has none."""
    if is_remote(str(address)) and str(address).endswith(".json"):
        return False
    try:
        return f'"{FORMAT}"'.encode() in open_folder(address).read(MANIFEST)
    except (OSError, ValueError):
        return False


def open_shards(folder: Folder) -> CocoImages:
    """The data set that shards hold, whole. Raises DataError if they are not all there."""
    dataset, source = _open(folder)
    return CocoImages(dataset, source)


def shard_source(folder: Folder, dataset: CocoDataset) -> ShardSource:
    """The images of another annotation file in shards, by their file names. Raises DataError if one is not there."""
    _, source = _open(folder)
    place_of = {name: place for place, name in enumerate(source.names)}
    places = np.array([place_of.get(name, -1) for name in dataset.file_names], np.int64)
    absent = np.flatnonzero(places < 0)
    if len(absent):
        raise DataError(
            f"{dataset.source}: {len(absent)} of its {len(dataset)} images are not in the shards of {folder}; "
            f"the first: {dataset.file_names[int(absent[0])]}",
            "Make the shards from this annotation file, or take them out of the annotations.",
        )
    columns = {name: getattr(source, name)[places] for name in ("shard", "start", "num_bytes", "sha256")}
    return replace(source, names=dataset.file_names, **columns)


def read_manifest(folder: Folder) -> Manifest:
    """Raises DataError if it is not there, broken or of another version."""
    path = folder.path(MANIFEST)
    try:
        content = json.loads(folder.read(MANIFEST))
    except FileNotFoundError:
        hint = "Make one with `rayox data shard`; one that was interrupted has to be made again."
        raise DataError(f"{folder}: not a folder of shards (it has no {MANIFEST})", hint) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})", _AGAIN) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: not a manifest of shards", "Give a folder that `rayox data shard` made.")
    if content.get("version") != VERSION:
        raise DataError(
            f"{path}: has version {content.get('version')}; this rayox reads {VERSION}", "Make the shards again."
        )
    if content.get("sha256") != manifest_digest(content):
        raise DataError(f"{path}: damaged (its digest does not match)", _AGAIN)
    files = tuple(ShardFile(**file) for file in content["files"])
    return Manifest(files, content["images"], content["annotations"], content["image_bytes"])


def manifest_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of all it says but this."""
    said = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _open(folder: Folder) -> tuple[CocoDataset, ShardSource]:
    manifest = read_manifest(folder)
    index, places = (_read_whole(folder, manifest, name) for name in (INDEX, PLACES))
    try:
        dataset, _ = read_index(io.BytesIO(index))
    except BrokenIndex as error:
        raise DataError(f"{folder.path(INDEX)}: {error}", _AGAIN) from None
    table = read_parquet(io.BytesIO(places)).combine_chunks()
    sha256 = np.frombuffer(table["sha256"].chunk(0).buffers()[1], np.uint8, 32 * len(table)).reshape(-1, 32)
    columns = {name: array_of(table[name].chunk(0), np.int64) for name in ("shard", "start", "num_bytes")}
    source = ShardSource(folder, manifest.shards, dataset.file_names, **columns, sha256=sha256)
    absent = folder.absent(manifest.shards)
    if absent:
        first = folder.path(manifest.shards[absent[0]])
        raise DataError(f"{folder}: {len(absent)} of its {len(manifest.shards)} shards are missing: {first}", _AGAIN)
    return replace(dataset, source=str(folder)), source


def _read_whole(folder: Folder, manifest: Manifest, name: str) -> bytes:
    """A small file, checked against its digest."""
    path = folder.path(name)
    try:
        content = folder.read(name)
    except OSError as error:
        raise unreadable(path, error) from None
    if hashlib.sha256(content).hexdigest() not in {file.sha256 for file in manifest.files if file.name == name}:
        raise DataError(f"{path}: damaged (its digest is not the manifest's)", _AGAIN)
    return content
