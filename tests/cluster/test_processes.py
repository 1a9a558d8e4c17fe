"""Only what was started is ended: by pid and start time, and by the mark that children inherit."""

import os
import sys
import time
from dataclasses import replace

import psutil
import pytest
from patience import patient, wait_until

from rayox_cluster.processes import MARK, end, marked, start

pytestmark = pytest.mark.slow

FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


@pytest.fixture
def family(tmp_path):
    """A marked process with a child."""
    mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
    parent = start([sys.executable, "-c", FAMILY], tmp_path / "log", os.environ | {MARK: mark})
    try:
        wait_until(lambda: len(marked(mark)) == 2)
        yield parent, mark
    finally:
        end([parent], mark, 0)


def test_parent_and_child_are_ended(family):
    parent, mark = family
    assert parent.is_alive
    assert end([parent], mark, 10) == 2
    assert not parent.is_alive
    assert marked(mark) == []


def test_what_a_dead_parent_left_is_ended(family):
    parent, mark = family
    psutil.Process(parent.pid).kill()
    psutil.Process(parent.pid).wait(patient(10))
    assert len(marked(mark)) == 1
    assert end([parent], mark, 1) == 1
    assert marked(mark) == []


def test_a_process_that_has_got_the_pid_of_ours_is_left_alone(family):
    parent, _ = family
    other = replace(parent, started=parent.started - 60)
    assert not other.is_alive
    end([other], "a mark of nobody", 0)
    assert parent.is_alive
