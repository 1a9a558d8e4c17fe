"""Which rank gets which lanes of a window: what Ray's splitter does with blocks in order, worked out ahead.

A streaming split that keeps the order gives a block to the rank with the fewest rows so far, the lowest one of equals.
Where W ranks divide the L lanes that is lane l to rank l mod W in every window; else the lanes go around the ranks, and
a rank has L/W of them in a window, rounded up or down.
"""

from collections.abc import Iterator

from rayox_model.core.errors import ConfigError
from rayox_model.core.plan import StreamPlan


def deal(plan: StreamPlan, world_size: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """For each window of the plan the lanes of every rank, in order; no rank is ever without one.

    Raises ConfigError with more ranks than lanes.
    """
    if world_size > plan.lanes:
        raise ConfigError(
            f"train.workers: {world_size} workers share the {plan.lanes} lanes of a batch, and each needs one",
            f"set data.lanes to {world_size} or more, or train.workers to {plan.lanes}",
        )
    rows = [0] * world_size
    for window in range(plan.num_windows):
        lanes: list[list[int]] = [[] for _ in range(world_size)]
        for lane in range(plan.lanes):
            rank = rows.index(min(rows))
            rows[rank] += plan.num_rows(window)
            lanes[rank].append(lane)
        yield tuple(map(tuple, lanes))
