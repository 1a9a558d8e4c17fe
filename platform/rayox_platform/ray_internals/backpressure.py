"""What holds Ray Data's executor back: how many block ids it reads, how many finished blocks may wait.

Left alone it reads and computes on until its share of the object store is full: the first minutes of a training then
share their CPUs with samples for much later. With nothing to do its loop never sleeps, which takes up to three quarters
of a CPU from training. And it keeps statistics of every block that it ever gave, 5 KB each: gigabytes in a long run.
Without it the same blocks come in the same order, with more memory and less of the CPUs left for training.
"""

from ray.data import DataContext

from rayox_platform.ray_internals.switch import attempt


def hold_back(context: DataContext, waiting_blocks: int) -> None:
    """For data sets of a context that read ids and map them; waiting_blocks may be finished and not yet taken."""
    attempt("limits of the stream's lead", lambda: _put_on(context, waiting_blocks), None)


def _put_on(context: DataContext, waiting_blocks: int) -> None:
    from ray.data._internal.execution.backpressure_policy import (
        ENABLED_BACKPRESSURE_POLICIES,
        ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    )

    from rayox_platform.ray_internals.backpressure_policies import WAITING_KEY, FewAtATime, NotFarAhead, ShortMemory

    policies = [*ENABLED_BACKPRESSURE_POLICIES, FewAtATime, NotFarAhead, ShortMemory]
    context._max_num_blocks_in_streaming_gen_buffer = None  # a chapter's ids are given at once
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, policies)
    context.set_config(WAITING_KEY, waiting_blocks)
