"""What a watcher of a training reads, fed with events by hand."""

import contextlib
import os
import sys
import time
from dataclasses import replace

import pytest

from rayox.terminal.console import Console
from rayox.terminal.panel import PlainLines
from rayox.terminal.training_panel import TrainingPanel, TrainingStatus
from rayox_platform.runs.event_kinds import Checkpoint, Diagnosis, Epoch, Note, Progress, Start

PROGRESS = Progress(
    step=320,
    epoch=4,
    images_per_second=58.1,
    data_seconds=0.002,
    data_wait_fraction=0.023,
    seconds_per_step=0.1,
    learning_rate=0.0071,
    loss_total=9.06,
    loss_iou=3.0,
    loss_l1=0.0,
)
METRICS = {"AP": 0.3111, "AP50": 0.52, "loss_total": 9.0, "images_per_second": 58.0}
EPOCH = Epoch(epoch=5, step=320, metrics=METRICS)


@pytest.fixture
def status():
    return TrainingStatus("toy", num_steps=1536, epochs=24)


def test_before_the_first_step_it_says_what_is_being_waited_for(status):
    status.enter("starting Ray")
    status.stage_since -= 12
    assert status.headline() == "toy  starting Ray  0:12"
    assert status.details() == ""
    status.take(Start(step=0, workers=2, checkpoint_time=time.time()))
    assert "waiting for the first batch" in status.headline()


def test_while_it_trains_it_has_step_speed_time_left_losses_and_age_of_the_checkpoint(status):
    status.take(PROGRESS)
    assert status.headline() == "toy  step 320/1536  epoch 5/24  58.1 images/s  ETA 2:02"
    assert status.details() == "loss 9.06 (iou 3.00)  rate 0.0071  data-wait 2%  checkpoint none yet"
    status.take(Checkpoint(step=320, path="step-00000320", time=time.time() - 75))
    assert status.details().endswith("checkpoint 1:15 ago")


def test_skipped_steps_are_counted_where_there_are_any(status):
    status.take(replace(PROGRESS, skipped_steps=2.0))
    status.take(replace(PROGRESS, skipped_steps=1.0))
    assert "data-wait 2%  3 skipped (the scale is being found)  checkpoint" in status.details()
    status.take(replace(PROGRESS, skipped_steps=0.0))
    assert "data-wait 2%  3 skipped  checkpoint" in status.details()


def test_a_diagnosis_is_a_line_that_stays(status):
    assert status.take(Diagnosis(epoch=1, text="AP is 0: no detection")) == "AP is 0: no detection"


def test_evaluations_and_restarts_are_lines_that_stay(status):
    assert status.take(Start(step=0, workers=2)) is None
    status.take(PROGRESS)
    assert status.take(EPOCH) == ("epoch 5/24  AP 0.311  AP50 0.520  loss 9.00  58.0 images/s")
    assert status.take(replace(EPOCH, metrics={"loss_total": 9.0})) is None  # no evaluation
    assert status.take(Start(step=256, workers=1)) == "restarted at step 256 with 1 worker"


def test_plain_lines_come_every_ten_seconds_of_training(status):
    now = [1000.0]
    lines = PlainLines(status, clock=lambda: now[0])
    status.take(PROGRESS)
    said = []
    for _ in range(60):
        now[0] += 0.5
        said.append(lines.line())
    assert [place for place, line in enumerate(said) if line] == [19, 39, 59]
    assert said[19] == f"{status.headline()}  {status.details()}"


def test_a_stage_is_named_once_it_has_lasted_and_again_if_it_goes_on(status):
    status.enter("starting Ray")
    start = status.stage_since
    now = [start]
    lines = PlainLines(status, clock=lambda: now[0])
    seconds_of_lines = []
    for tenth in range(1, 300):
        now[0] = start + tenth / 10
        if lines.line():
            seconds_of_lines.append(round(now[0] - start))
    assert seconds_of_lines == [1, 21]


def test_in_a_pipe_the_kept_lines_go_to_standard_error_and_nothing_to_standard_output(capsys):
    with TrainingPanel("toy", 1536, 24, Console(as_json=True)) as panel:
        panel.show(PROGRESS)
        panel.show(EPOCH)
    said = capsys.readouterr()
    assert said.out == ""
    assert "AP 0.311" in said.err


def test_a_terminal_that_is_gone_ends_the_showing_and_not_the_run(monkeypatch):
    """A real terminal whose other end is closed while the panel is on it, as when a session is cut off."""
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    terminal = os.fdopen(theirs, "w")
    monkeypatch.setattr(sys, "stderr", terminal)
    with TrainingPanel("toy", 1536, 24, Console()) as panel:
        panel.show(PROGRESS)
        os.close(ours)
        for epoch in range(5, 8):
            panel.show(Note(text=f"epoch {epoch}"))
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output error"):
        os.write(theirs, b"gone")
    with contextlib.suppress(OSError):
        terminal.close()
