"""A stream whose blocks hold no samples, and what its processes weigh; imports no torch, as they do not."""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import ray

from rayox_platform.stream.blocks import SampleBlocks


@ray.remote(num_cpus=0)
class Idle:
    def ready(self) -> bool:
        return True


class NoSamples(SampleBlocks):
    def samples(self, images: object, window: int, lane: int) -> dict[str, np.ndarray]:
        return {"lane": np.array([lane])}

    def __call__(self, block: object) -> dict[str, np.ndarray]:
        return {"id": block["id"]}  # type: ignore[index]


@ray.remote(num_cpus=0)
def count_blocks(shard: ray.data.DataIterator, seconds: float) -> list[tuple[float, int, int]]:
    """(seconds, blocks, bytes of the split's coordinator) every two seconds; the blocks come in order."""
    start, series = time.perf_counter(), []
    for number, block in enumerate(shard.iter_batches(batch_size=None, batch_format="numpy")):
        assert block["id"].tolist() == [number]
        passed = time.perf_counter() - start
        if not series or passed > series[-1][0] + 2:
            series.append((passed, number + 1, largest_bytes("ray::SplitCoordinator")))
        if passed > seconds:
            return series
    raise AssertionError("the stream ended")


def largest_bytes(*titles: str) -> int:
    """Private bytes of the largest process with one of the titles."""
    sizes = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may have ended meanwhile
            if (folder / "cmdline").read_text().startswith(titles):
                sizes.append(private_bytes(int(folder.name)))
    return max(sizes)


def private_bytes(pid: int) -> int:
    """The object store's pages are every process's and not counted."""
    _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
