"""The fingerprint of a data set: one digest that tells whether two runs saw the same annotations and images.

It does not depend on how the file is written: formatting, order of keys and of records, annotation ids. Nor on where it
lies: a folder, a bucket or shards with the same bytes have the same, for which a bucket's images are read once, beside
the training. It changes with any box, area, crowd flag, class, size, file name, image id or image content.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.images import CocoImages
from rayox_platform.data.source import ImageSource

_CHUNK = 64  # images a thread hashes between two calls of progress


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 digests in hexadecimal; `digest` is of both others together."""

    digest: str
    annotations: str
    images: str


def fingerprint(images: CocoImages, progress: Callable[[int, int], None] | None = None) -> Fingerprint:
    """Hash a data set whole; `progress(done, total)` is told of images. Raises DataError for one that is not there."""
    order = np.argsort(images.dataset.image_ids, kind="stable")
    annotations = annotations_digest(images.dataset)
    contents = _contents_digest(images.source, order.tolist(), progress)
    digest = hashlib.sha256(f"{annotations} {contents}".encode()).hexdigest()
    return Fingerprint(digest, annotations, contents)


def annotations_digest(dataset: CocoDataset) -> str:
    """Images by id; of an image its annotations by class, then box, area and crowd flag."""
    order = np.argsort(dataset.image_ids, kind="stable")
    classes = list(zip(dataset.category_ids.tolist(), dataset.classes, strict=True))
    names = [dataset.file_names[index] for index in order]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    image = np.repeat(rank, np.diff(dataset.offsets))
    numbers = np.column_stack([dataset.bboxes_xywh, dataset.areas]) + 0.0  # −0.0 and 0.0 are one number
    by = np.lexsort((dataset.iscrowd, *numbers.T[::-1], dataset.labels, image))
    columns = (
        (dataset.image_ids[order], "<i8"),
        (dataset.heights[order], "<i8"),
        (dataset.widths[order], "<i8"),
        (image[by], "<i8"),
        (dataset.labels[by], "<i8"),
        (numbers[by], "<f8"),
        (dataset.iscrowd[by], "u1"),
    )
    sha = hashlib.sha256(json.dumps([classes, names]).encode())
    sha.update(np.array([len(order), len(by)], "<i8").tobytes())
    for column, kind in columns:
        sha.update(np.ascontiguousarray(column, kind).tobytes())
    return sha.hexdigest()


def _contents_digest(source: ImageSource, order: Sequence[int], progress: Callable[[int, int], None] | None) -> str:
    chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
    sha = hashlib.sha256()
    done = 0
    with ThreadPoolExecutor(source.num_threads, thread_name_prefix="hash") as pool:
        for digests in pool.map(lambda chunk: [source.digest(index) for index in chunk], chunks):
            sha.update(b"".join(digests))
            done += len(digests)
            if progress is not None:
                progress(done, len(order))
    return sha.hexdigest()
