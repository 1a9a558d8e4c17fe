"""What a drill reads off a run's events: the steps a fault has cost, and how long training stood still."""

import json

import pytest

from rayox.drill import Struck, _next_start
from rayox_platform.runs.home import FolderHome


@pytest.fixture
def home(tmp_path):
    """Killed at 104, at step 12 with a checkpoint of step 10; training again at 130, its next step at 133."""
    events = [("start", 90, 0), *(("progress", 92 + step, step) for step in range(1, 13)), ("checkpoint", 102.5, 10)]
    events += [("failure", 104.2, None), ("start", 130, 10), ("progress", 133, 11), ("progress", 134, 12)]
    lines = [{"kind": kind, "time": time} | ({} if step is None else {"step": step}) for kind, time, step in events]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return FolderHome(tmp_path)


def test_a_fault_costs_the_steps_since_the_checkpoint(home):
    before, resumed, next_step_at = _next_start(home, None, None, after=104.0)
    assert (before, resumed, next_step_at) == (12, 10, 133)
    assert Struck("worker", "worker 7", before, resumed, before - resumed, next_step_at - 104.0).as_promised


def test_more_steps_than_between_two_checkpoints_is_not_as_promised():
    assert not Struck("worker", "worker 7", 12, 4, 8, 29.0).as_promised
