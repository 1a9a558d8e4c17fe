"""The training stream over Ray Data: blocks of augmented samples, dealt so that every rank knows what comes next.

The plan is cut into blocks, ordered (window, lane); a block is made by one CPU task on any node. A streaming split that
keeps their order deals them by a rule each rank can follow (see dealing): with W ranks that divide the lanes, lane l
goes to rank l mod W. Each row names its window's first step and its lane: a rank that gets another block stops (see
batches). Nothing here imports torch: Ray's own processes that hand blocks out start in a third of the time without it.
"""

from collections.abc import Mapping
from typing import Any

import ray.data
import ray.train
from ray.data import DataContext

from rayox_platform.ray_internals.backpressure import hold_back
from rayox_platform.resources.demand import DATA_TASK_CPUS
from rayox_platform.stream.block_ids import block_ids
from rayox_platform.stream.blocks import SampleBlocks

WINDOWS_AHEAD = 1  # of finished blocks, beside what the workers hold


def stream_dataset(
    blocks: SampleBlocks, cpus_per_task: float = DATA_TASK_CPUS, labels: Mapping[str, str] | None = None
) -> ray.data.Dataset:
    """The whole run as one Ray dataset of as many blocks; nothing is computed until a rank reads.

    labels are those of the nodes that make the blocks; none is any node.
    """
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.label_selector = dict(labels) if labels else None
    context.target_max_block_size = None  # a task gives one block, however large its images are
    context.memory_usage_poll_interval_s = None
    hold_back(context, waiting_blocks=WINDOWS_AHEAD * blocks.plan.lanes)
    with DataContext.current(context):
        numbers = block_ids(blocks.plan.num_windows * blocks.plan.lanes)
        return numbers.map_batches(blocks, batch_size=None, batch_format="numpy", num_cpus=cpus_per_task)


class LaneSplit(ray.train.DataConfig):  # type: ignore[misc]
    """Deals blocks round robin in order; Ray's own configuration equalises rows, which moves them between ranks."""

    def configure(
        self, datasets: dict[str, ray.data.Dataset], world_size: int, *_: Any, **__: Any
    ) -> list[dict[str, ray.data.DataIterator]]:
        (name, dataset), *_others = datasets.items()
        return [{name: shard} for shard in dataset.streaming_split(world_size, equal=False)]
