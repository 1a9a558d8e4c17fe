"""A COCO file's index: what was read of it, as one Parquet file in the state folder, so that the next start is quick.

The index belongs to one path and is used only for the very file it was made from (size, times) by the same version of
the format; a broken, half-written or older one is ignored and written anew. Writing is atomic, so that processes may
do it at once. Files that are read in a moment anyway have none.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64
from numpy.typing import NDArray

from rayox_model.core.modes import open_to_others
from rayox_platform.data.coco import CocoDataset, read_coco
from rayox_platform.data.names import FileNames
from rayox_platform.storage.folders import is_remote, open_folder, split_address

VERSION = 2  # of the columns and of what the reader makes of a file: raise it with any change to either
MIN_BYTES = 8_000_000  # of a file worth an index: smaller ones are read in a fifth of a second
_KEY = b"rayox"
_ANNOTATIONS: dict[str, type[np.generic]] = {
    "bboxes_xywh": np.float64,  # four an annotation, of the others one
    "labels": np.int64,
    "annotation_ids": np.int64,
    "areas": np.float64,
    "iscrowd": np.bool_,  # stored as a byte
}


def load_coco(address: Path | str, cache: Path) -> CocoDataset:
    """What read_coco gives, from the file's index under `cache` if there is one; else the index is made.

    Raises DataError as read_coco does. A folder that cannot be written is not an error: the file is read each time.
    """
    try:
        made_from = _identity(address)
    except (OSError, ValueError):
        return read_coco(address)  # which says what is wrong
    if made_from["num_bytes"] < MIN_BYTES:
        return read_coco(address)
    index = cache / "coco" / f"{_name(made_from['path'])}.parquet"
    dataset = _read_if_of(index, made_from)
    if dataset is None:
        dataset = read_coco(address)
        with contextlib.suppress(OSError):
            if _identity(address) == made_from:  # nobody wrote to it meanwhile
                write_index(dataset, index, made_from)
    return dataset


def _identity(address: Path | str) -> dict[str, Any]:
    """The stamp of a file as it stands now, which also tells a copy that kept the old size and times."""
    folder, name = split_address(address)
    stamp = open_folder(folder).stamp(name)
    path = f"{folder}/{name}" if is_remote(folder) else str(Path(folder, name).absolute())
    return {"path": path, **asdict(stamp)}


def _name(path: str) -> str:
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{PurePosixPath(path).stem}-{digest[:16]}"


def write_index(dataset: CocoDataset, index: Path, made_from: dict[str, Any]) -> None:
    """Write the index whole or not at all. Raises OSError."""
    index.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{index.stem}-", dir=index.parent)
    os.close(handle)
    try:
        table = to_table(dataset, made_from)
        pq.write_table(table, unfinished, compression="lz4", use_dictionary=False)
        open_to_others(Path(unfinished))
        os.replace(unfinished, index)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def read_index(index: Path | BinaryIO) -> tuple[CocoDataset, dict[str, Any]]:
    """The data set and what it was made from. Raises BrokenIndex, also for a single wrong bit."""
    try:
        table = read_parquet(index)
        facts = json.loads(table.schema.metadata[_KEY])
        if facts["version"] != VERSION:
            raise BrokenIndex(f"{index}: of another version")
        dataset = from_table(table, facts)
        whole = _digest(dataset, facts) == facts["digest"]
    except _WHAT_READING_RAISES as error:
        raise BrokenIndex(f"{index}: {error}") from None
    if not whole:
        raise BrokenIndex(f"{index}: its digest is another")
    return dataset, facts["made_from"]


def read_parquet(file: Path | BinaryIO) -> pa.Table:
    """A whole file. (`read_table` would first import Arrow's data sets.)"""
    with pq.ParquetFile(file) as opened:
        return opened.read(use_threads=False)


class BrokenIndex(Exception):
    """Not an index, not whole, or not of this version."""


_WHAT_READING_RAISES = (
    *(pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(NotImplementedError, MemoryError, OverflowError),
)  # for a file with any bits wrong


def _read_if_of(index: Path, made_from: dict[str, Any]) -> CocoDataset | None:
    try:
        dataset, found = read_index(index)
    except BrokenIndex:
        return None
    return dataset if found == made_from else None


def _digest(dataset: CocoDataset, facts: dict[str, Any]) -> str:
    """The digest of all that is stored: Parquet's own checksums leave its headers out."""
    said = {name: value for name, value in facts.items() if name != "digest"}
    sha = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    names = _names(dataset)
    arrays = (names.text, names.offsets, dataset.image_ids, dataset.heights, dataset.widths, dataset.offsets)
    for array in (*arrays, *(getattr(dataset, name) for name in _ANNOTATIONS)):
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _names(dataset: CocoDataset) -> FileNames:
    return dataset.file_names if isinstance(dataset.file_names, FileNames) else FileNames.of(dataset.file_names)


def to_table(dataset: CocoDataset, made_from: dict[str, Any]) -> pa.Table:
    """One row an image, its annotations as lists."""
    names = _names(dataset)
    offsets = pa.array(dataset.offsets.astype(np.int32))
    columns = {
        "image_ids": dataset.image_ids,
        "file_names": pa.Array.from_buffers(
            pa.binary(), len(names), [None, pa.py_buffer(names.offsets.astype(np.int32)), pa.py_buffer(names.text)]
        ),
        "heights": dataset.heights,
        "widths": dataset.widths,
        "bboxes_xywh": pa.FixedSizeListArray.from_arrays(dataset.bboxes_xywh.ravel(), 4),
        "labels": pa.array(dataset.labels),
        "annotation_ids": pa.array(dataset.annotation_ids),
        "areas": pa.array(dataset.areas),
        "iscrowd": pa.array(dataset.iscrowd.view(np.uint8)),
    }
    columns |= {name: pa.ListArray.from_arrays(offsets, columns[name]) for name in _ANNOTATIONS}
    facts = {
        "version": VERSION,
        "made_from": made_from,
        "source": dataset.source,
        "classes": dataset.classes,
        "category_ids": dataset.category_ids.tolist(),
        "notes": dict(dataset.notes),
    }
    facts["digest"] = _digest(dataset, facts)
    return pa.table(columns).replace_schema_metadata({_KEY: json.dumps(facts).encode()})


def from_table(table: pa.Table, facts: dict[str, Any]) -> CocoDataset:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    annotations = {name: array_of(columns[name], kind) for name, kind in _ANNOTATIONS.items()}
    names = columns["file_names"]
    return CocoDataset(
        source=facts["source"],
        classes=tuple(facts["classes"]),
        category_ids=np.array(facts["category_ids"], np.int64),
        image_ids=array_of(columns["image_ids"], np.int64),
        file_names=FileNames(array_of(names, np.uint8), _offsets(names)),
        heights=array_of(columns["heights"], np.int32),
        widths=array_of(columns["widths"], np.int32),
        offsets=_offsets(columns["labels"]),
        **annotations | {"bboxes_xywh": annotations["bboxes_xywh"].reshape(-1, 4)},
        notes=facts["notes"],
    )


def array_of(column: pa.Array, kind: type[np.generic]) -> NDArray[Any]:
    """The innermost values of a column without nulls, as they lie. (Arrow's own way to numpy imports pandas: 2 s.)"""
    values, count = column, len(column)
    while isinstance(values, pa.ListArray | pa.FixedSizeListArray):
        values = values.values
        count = len(values)
    if isinstance(values, pa.BinaryArray):
        count = int(_offsets(values)[-1])
    buffer = column.buffers()[-1]
    return np.frombuffer(buffer, kind, count) if count else np.zeros(0, kind)


def _offsets(column: pa.Array) -> Int64[np.ndarray, "M+1"]:
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1).astype(np.int64)
