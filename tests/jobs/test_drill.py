"""What a drill reads off a run's events: the steps a fault has cost, and how long training stood still."""

import pytest

from rayox.drill import Struck, _next_start
from rayox_platform.runs.event_kinds import Checkpoint, Failure, Progress, Start
from rayox_platform.runs.home import FolderHome


@pytest.fixture
def home(tmp_path):
    """Killed at 104, at step 12 with a checkpoint of step 10; training again at 130, its next step at 133."""
    home = FolderHome(tmp_path)
    before = [progress(step, time=92 + step) for step in range(1, 13)]
    events = [Start(step=0, time=90), *before, Checkpoint(step=10, path="step-00000010", time=102.5)]
    events += [
        Failure(text="it was killed", time=104.2),
        Start(step=10, time=130),
        progress(11, 133),
        progress(12, 134),
    ]
    for event in events:
        home.events.tell(event)
    return home


def progress(step, time):
    rates = {"learning_rate": 0.01, "data_seconds": 0.0, "images_per_second": 20.0, "data_wait_fraction": 0.1}
    return Progress(step=step, epoch=0, loss_total=9.0, time=time, **rates)


def test_a_fault_costs_the_steps_since_the_checkpoint(home):
    before, resumed, next_step_at = _next_start(home, None, None, after=104.0)
    assert (before, resumed, next_step_at) == (12, 10, 133)
    assert Struck("worker", "worker 7", before, resumed, before - resumed, next_step_at - 104.0).as_promised


def test_more_steps_than_between_two_checkpoints_is_not_as_promised():
    assert not Struck("worker", "worker 7", 12, 4, 8, 29.0).as_promised
