"""The numbers of a stream's blocks as a Ray data set, each a block of its own, read a chapter at a time.

A data set of one read task per number would be millions of objects before the first sample; read without a brake,
the numbers would pile up instead, being too small for Ray's limits, which count bytes.
"""

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

CHAPTER = 2048  # numbers a read task gives


def block_numbers(count: int) -> ray.data.Dataset:
    """The rows {"id": 0} … {"id": count - 1} in order, each a block; reading them takes no CPU from the tasks."""
    source = _Numbers(count)
    # More blocks wanted than there are read tasks: Ray splits each task's rows, here one by one.
    return ray.data.read_datasource(source, override_num_blocks=source.num_tasks * source.chapter, num_cpus=0)


class _Numbers(Datasource):  # type: ignore[misc]
    def __init__(self, count: int) -> None:
        self.count = count
        self.chapter = min(CHAPTER, max(count, 1))

    @property
    def num_tasks(self) -> int:
        return max(1, -(-self.count // self.chapter))

    def estimate_inmemory_data_size(self) -> int:
        return self.count * 8

    def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
        starts = range(0, self.count, self.chapter)
        return [_read_task(start, min(start + self.chapter, self.count)) for start in starts]


def _read_task(start: int, stop: int) -> ReadTask:
    facts = BlockMetadata(num_rows=stop - start, size_bytes=8 * (stop - start), input_files=None, exec_stats=None)
    return ReadTask(lambda: [pa.table({"id": np.arange(start, stop)})], facts)
