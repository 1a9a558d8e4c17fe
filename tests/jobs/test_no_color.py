"""NO_COLOR keeps colours off a terminal, where the panel has them otherwise."""

import os
import pty
import re
import subprocess
import sys

import pytest

SHOW = """
from rayox.terminal.console import Console
from rayox.terminal.training_panel import TrainingPanel
from rayox.terminal.progress import progress
from rayox_platform.runs.event_kinds import Progress
from time import sleep
rates = {"images_per_second": 1.0, "data_wait_fraction": 0.1, "data_seconds": 0.1, "learning_rate": 0.01}
with TrainingPanel("mine", 10, 1, Console()) as panel:
    panel.show(Progress(step=5, epoch=0, loss_total=9.0, seconds_per_step=0.5, **rates))
    sleep(0.6)
with progress(10, "images") as bar:
    bar.advance(5)
    sleep(0.6)
"""
COLOUR = re.compile(rb"\x1b\[[0-9;]*?(?<![0-9])[349][0-9][0-9;]*m")


@pytest.mark.slow
@pytest.mark.parametrize("set_to", [None, "", "1"])
def test_no_colour_is_written_where_it_is_set(set_to):
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    if set_to is not None:
        environment["NO_COLOR"] = set_to
    process = subprocess.Popen([sys.executable, "-c", SHOW], stderr=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # the terminal is gone with its last process
        pass
    os.close(ours)
    assert process.wait() == 0, said
    assert b"step 5/10" in said
    assert bool(COLOUR.search(said)) == (set_to != "1")
