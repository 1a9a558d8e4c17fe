"""Policies that Ray Data's executor asks before it starts a task; with parts that have moved they hold nothing back.

NotFarAhead buys up to 0.75 of a CPU that the executor's idle loop takes, ShortMemory 5 of the 8 KB that it keeps of
every block. What FewAtATime buys, ids read when they are needed, is not measured by itself.
"""

import time
from typing import Any

from ray.data._internal.execution.backpressure_policy.backpressure_policy import BackpressurePolicy

from rayox_platform.ray_internals.switch import attempt

FEW, FEW_A_TASK = 16, 2  # ids that wait: in any case, and for each task that runs
REST_SECONDS = 0.05  # of the loop while there is nothing to do; two windows of blocks wait meanwhile
REMEMBERED = 256  # blocks whose statistics are kept
WAITING_KEY = "rayox_waiting_blocks"


class FewAtATime(BackpressurePolicy):  # type: ignore[misc]
    """Reads the next chapter of ids only when the last is read and few of its ids still wait for a task."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._most_active = 0

    def can_add_input(self, op: Any) -> bool:
        return attempt("limit of block ids", lambda: self._may_start(op), True)

    def _may_start(self, op: Any) -> bool:
        _, reader, mapper, *_ = self._topology
        if op is not reader:
            return True
        self._most_active = max(self._most_active, mapper.num_active_tasks())
        waiting: int = self._topology[mapper].total_enqueued_input_blocks()
        return waiting < FEW + FEW_A_TASK * self._most_active and not op.num_active_tasks()


class NotFarAhead(BackpressurePolicy):  # type: ignore[misc]
    """Starts the task of another block only while few finished ones wait; a task's length of them beside the limit."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._most_active = 0

    def can_add_input(self, op: Any) -> bool:
        return attempt("limit of waiting blocks", lambda: self._may_start(op), True)

    def _may_start(self, op: Any) -> bool:
        _, _, mapper, *after = self._topology
        if op is not mapper:
            return True
        self._most_active = max(self._most_active, op.num_active_tasks())
        limit: int = self._data_context.get_config(WAITING_KEY)
        free = self._waiting(mapper, after) < limit + self._most_active
        idle = not free or not self._topology[op].has_pending_bundles()
        if idle and not any(one.num_active_tasks() for one in self._topology):
            time.sleep(REST_SECONDS)
        return free

    def _waiting(self, mapper: Any, after: list[Any]) -> int:
        waiting: int = self._topology[mapper].total_enqueued_output_blocks()
        for op in after:
            waiting += self._topology[op].total_enqueued_output_blocks()
            waiting += getattr(op, "internal_input_queue_num_blocks", int)()
        return waiting


class ShortMemory(BackpressurePolicy):  # type: ignore[misc]
    """Holds nothing back; forgets the statistics of all but the last blocks."""

    def can_add_input(self, op: Any) -> bool:
        return attempt("short memory of blocks", lambda: self._forget(op), True)

    def _forget(self, op: Any) -> bool:
        _, reader, mapper, *_ = self._topology
        if op in (reader, mapper):
            del op._output_blocks_stats[:-REMEMBERED]
        return True
