"""A rank's end of the training stream: the blocks that are dealt to it, as the batches of its steps."""

from collections.abc import Callable, Iterator

import numpy as np
import ray.data
import torch

from rayox_model.core.collate import unpack
from rayox_model.core.errors import DataError
from rayox_model.core.plan import StreamPlan
from rayox_model.core.quarantine import Replacement
from rayox_model.core.structures import Batch
from rayox_platform.stream.blocks import Block, broken_images
from rayox_platform.stream.lane_assignment import deal
from rayox_platform.stream.stall import PATIENT, Patience, watched


def rank_batches(
    shard: ray.data.DataIterator,
    plan: StreamPlan,
    rank: int,
    world_size: int,
    *,
    report_stall: Callable[[str], None] = lambda cause: None,
    report_broken: Callable[[list[Replacement]], None] = lambda found: None,
    patience: Patience = PATIENT,
) -> Iterator[Batch]:
    """This rank's share of every global batch, in order: the rows of its lanes. Raises DataError on a foreign block.

    report_stall is told why a block is long in coming, report_broken of broken images that were replaced.
    All ranks have the same number of batches; where W does not divide the lanes, not the same number of rows.
    The stream begins at once, not only when the first batch is wanted.
    """
    blocks = watched(
        iter(shard.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=2)), patience, report_stall
    )
    return _batches(blocks, plan, rank, world_size, report_broken)


def _batches(
    blocks: Iterator[Block],
    plan: StreamPlan,
    rank: int,
    world_size: int,
    report_broken: Callable[[list[Replacement]], None],
) -> Iterator[Batch]:
    rows_per_step = plan.batch_size // plan.lanes
    for window, lanes in enumerate(deal(plan, world_size)):
        first_step = plan.steps(window).start
        held = [_expect(next(blocks, None), first_step, lane) for lane in lanes[rank]]
        for found in filter(None, map(broken_images, held)):
            report_broken(found)
        for start in range(0, plan.num_rows(window), rows_per_step):
            yield _batch([{name: column[start : start + rows_per_step] for name, column in b.items()} for b in held])


def _expect(block: Block | None, first_step: int, lane: int) -> Block:
    if block is not None and "error" in block:
        raise DataError(str(block["error"][0]), str(block["hint"][0]))
    got = "its end" if block is None else f"step {block['first_step'][0]}, lane {block['lane'][0]}"
    if block is None or (block["first_step"] != first_step).any() or (block["lane"] != lane).any():
        raise DataError(
            f"the training stream is out of order: expected step {first_step}, lane {lane}, got {got}",
            "resume the run with --resume auto; if it happens again, please report it with the run's log",
        )
    return block


def _batch(parts: list[Block]) -> Batch:
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return unpack(joined, int(joined["epoch"][0]), pinned=torch.cuda.is_available())
