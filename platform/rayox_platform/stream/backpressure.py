"""What holds Ray Data's executor back: how many numbers of blocks it reads, how many finished blocks may wait.

Left alone it reads and computes on until its share of the object store is full: the first minutes of a training then
share their CPUs with samples for much later. Its loop waits for all running tasks at once, a tenth of a second at most:
a CPU whose task has ended stands idle till then, and with no task to run it never sleeps, which took up to three
quarters of a CPU from training. And it keeps statistics of every block that it ever gave, 5 KB each: gigabytes in a
long run.
"""

import time
from typing import Any

import ray
from ray.data import DataContext
from ray.data._internal.execution import streaming_executor_state
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
)
from ray.data._internal.execution.backpressure_policy.backpressure_policy import BackpressurePolicy

FEW, FEW_A_TASK = 16, 2  # numbers that wait: in any case, and for each task that runs
LOOK_SECONDS = 0.2  # the longest wait for a task
MANY = 16  # tasks of which one is waited for: a large cluster's are looked at in groups
REST_SECONDS = 0.05  # of the loop while there is nothing to do; two windows of blocks wait meanwhile
REMEMBERED = 256  # blocks whose statistics are kept
WAITING_KEY = "rayox_waiting_blocks"


def put_on(context: DataContext, waiting_blocks: int) -> None:
    """For data sets of a context that read numbers and map them; waiting_blocks may be finished and not yet taken."""
    ours = [FewAtATime, NotFarAhead, NextTask, ShortMemory]
    policies = [one for one in ENABLED_BACKPRESSURE_POLICIES if one not in ours]
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*policies, *ours])
    context.set_config(WAITING_KEY, waiting_blocks)


class FewAtATime(BackpressurePolicy):  # type: ignore[misc]
    """Reads the next chapter of numbers only when the last is read and few of its numbers still wait for a task."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _, self._reader, self._mapper, *_ = self._topology
        self._most_active = 0

    def can_add_input(self, op: Any) -> bool:
        if op is not self._reader:
            return True
        self._most_active = max(self._most_active, self._mapper.num_active_tasks())
        waiting: int = self._topology[self._mapper].total_enqueued_input_blocks()
        return waiting < FEW + FEW_A_TASK * self._most_active and not op.num_active_tasks()


class NotFarAhead(BackpressurePolicy):  # type: ignore[misc]
    """Starts the task of another block only while few finished ones wait; a task's length of them beside the limit."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _, _, self._mapper, *self._after = self._topology
        self._limit: int = self._data_context.get_config(WAITING_KEY)
        self._most_active = 0

    def can_add_input(self, op: Any) -> bool:
        if op is not self._mapper:
            return True
        self._most_active = max(self._most_active, op.num_active_tasks())
        free = self._waiting() < self._limit + self._most_active
        idle = not free or not self._topology[op].has_pending_bundles()
        if idle and not any(one.num_active_tasks() for one in self._topology):
            time.sleep(REST_SECONDS)
        return free

    def _waiting(self) -> int:
        waiting: int = self._topology[self._mapper].total_enqueued_output_blocks()
        for op in self._after:
            waiting += self._topology[op].total_enqueued_output_blocks()
            waiting += getattr(op, "internal_input_queue_num_blocks", int)()
        return waiting


class NextTask(BackpressurePolicy):  # type: ignore[misc]
    """Holds nothing back; lets the loop go on when the next of the running tasks has something, not when all have.

    The loop asks it right before its own wait, which is none in this process from now on.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._first, *_ = self._topology
        streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = 0.0

    def max_task_output_bytes_to_read(self, op: Any) -> int | None:
        if op is self._first:
            heard = [one for one in self._topology if not one._in_task_output_backpressure]
            tasks = [task.get_waitable() for one in heard for task in one.get_active_tasks()]
            held = len(heard) < len(self._topology)  # what those give is not taken, so that they always have something
            if tasks:
                longest = REST_SECONDS if held else LOOK_SECONDS
                ray.wait(tasks, num_returns=1 + len(tasks) // MANY, fetch_local=False, timeout=longest)
            elif held:
                time.sleep(REST_SECONDS)
        return None


class ShortMemory(BackpressurePolicy):  # type: ignore[misc]
    """Holds nothing back; forgets the statistics of all but the last blocks."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _, self._reader, self._mapper, *_ = self._topology

    def can_add_input(self, op: Any) -> bool:
        if op in (self._reader, self._mapper):
            del op._output_blocks_stats[:-REMEMBERED]
        return True
