"""The numbers of a stream's blocks as a Ray data set, each a block of its own, read a chapter at a time.

A data set of one read task per number would be millions of objects before the first sample; read without a brake,
the numbers would pile up instead, being too small for Ray's limits, which count bytes. The first chapters are short:
the first samples wait for one, and the process that has read it is free to make them.
"""

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

FIRST_CHAPTER, LONGEST_CHAPTER = 32, 2048  # numbers a read task gives


def block_ids(count: int) -> ray.data.Dataset:
    """The rows {"id": 0} … {"id": count - 1} in order, each a block; reading them takes no CPU from the tasks."""
    source = _Numbers(count)
    # More blocks wanted than there are read tasks: Ray splits each task's rows into as many, here one by one.
    return ray.data.read_datasource(source, override_num_blocks=len(source.chapters) * LONGEST_CHAPTER, num_cpus=0)


def chapters_of(count: int) -> list[range]:
    """The numbers 0 … count - 1 in chapters of 32, 64, 128 … 2048, 2048 …; a single empty one without any."""
    chapters, length = [range(min(FIRST_CHAPTER, count))], FIRST_CHAPTER
    while (start := chapters[-1].stop) < count:
        length = min(2 * length, LONGEST_CHAPTER)
        chapters.append(range(start, min(start + length, count)))
    return chapters


class _Numbers(Datasource):  # type: ignore[misc]
    def __init__(self, count: int) -> None:
        self.chapters = chapters_of(count)

    def estimate_inmemory_data_size(self) -> int:
        return self.chapters[-1].stop * 8

    def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
        return [_read_task(chapter) for chapter in self.chapters]


def _read_task(chapter: range) -> ReadTask:
    facts = BlockMetadata(num_rows=len(chapter), size_bytes=8 * len(chapter), input_files=None, exec_stats=None)
    return ReadTask(lambda: [pa.table({"id": np.array(chapter)})], facts)
