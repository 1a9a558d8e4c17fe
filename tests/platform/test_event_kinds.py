"""A run's events in its files: every kind reads back, and events of other versions of rayox do no harm."""

import json
import math
from dataclasses import replace

import pytest

from rayox_platform.runs.event_kinds import (
    EVENTS,
    BadImages,
    Checkpoint,
    CheckpointFailed,
    CheckpointSkipped,
    Diagnosis,
    Epoch,
    Failure,
    Note,
    Progress,
    Stage,
    Stall,
    Start,
    Urgent,
)
from rayox_platform.runs.events import FileEvents
from rayox_platform.runs.overview import event_line

PROGRESS = Progress(
    time=5.0,
    step=7,
    epoch=1,
    learning_rate=0.01,
    data_seconds=0.25,
    images_per_second=20.0,
    data_wait_fraction=0.1,
    loss_total=9.0,
    loss_iou=3.0,
)
EXAMPLES = {
    "stage": Stage(text="evaluating"),
    "note": Note(text="ü\n"),
    "start": Start(step=0, workers=2, nodes=["a", "b"], began=3.5),
    "progress": PROGRESS,
    "epoch": Epoch(step=7, epoch=2, metrics={"AP": 0.5}, evaluated=True, weights="ab"),
    "checkpoint": Checkpoint(step=7, path="checkpoints/step-00000007", seconds=0.5),
    "checkpoint_failed": CheckpointFailed(step=7, text="No space left on device"),
    "checkpoint_skipped": CheckpointSkipped(text="it is damaged"),
    "urgent": Urgent(step=7, text="the run is asked to stop"),
    "failure": Failure(text="worker 1: gone", ranks=[1]),
    "bad_images": BadImages(images=["a.png: broken"]),
    "stall": Stall(text="the store is slow"),
    "diagnosis": Diagnosis(epoch=2, text="AP is 0"),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_event_is_one_line_with_its_kind_that_reads_back(kind):
    line = EVENTS.to_line(EXAMPLES[kind])
    assert line.count(b"\n") == 1
    assert json.loads(line)["kind"] == kind
    assert EVENTS.from_json(json.loads(line)) == EXAMPLES[kind]


def test_a_loss_that_is_not_finite_reads_back():
    found = EVENTS.from_json(json.loads(EVENTS.to_line(replace(PROGRESS, loss_total=math.nan, gradient_norm=math.inf))))
    assert math.isnan(found.loss_total)
    assert found.gradient_norm == math.inf


def test_the_first_version_s_lines_are_read(tmp_path):
    lines = (
        '{"kind": "start", "time": 1.0, "step": 0, "workers": 2, "node": "a", "pid": 5, "checkpoint_time": 0.5}',
        '{"kind": "progress", "time": 2.0, "step": 1, "epoch": 0, "learning_rate": 0.1, "data_seconds": 0.2, '
        '"images_per_second": 3.0, "data_wait_fraction": 0.5, "loss_total": 9.0}',
        '{"kind": "epoch", "time": 3.0, "epoch": 1, "step": 3, "metrics": {"AP": 0.25}, "weights": "ab"}',
        '{"kind": "checkpoint", "time": 4.0, "step": 3, "path": "/runs/a/checkpoints/step-00000003"}',
    )
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    start, progress, epoch, checkpoint = FileEvents(tmp_path).read()
    assert (start.workers, start.num_steps, start.began) == (2, None, None)
    assert (progress.losses, progress.skipped_steps) == ({"total": 9.0}, 0.0)
    assert (epoch.metrics, epoch.evaluated) == ({"AP": 0.25}, False)
    assert (checkpoint.step, checkpoint.time) == (3, 4.0)
    assert "num_steps" not in event_line(start), "what is not known is not shown"


def test_a_newer_version_s_kinds_are_skipped_and_its_fields_ignored(tmp_path):
    newer = EVENTS.to_json(PROGRESS) | {"temperature": 60.0}
    lines = ['{"kind": "forecast", "time": 1.0, "hours": 3}', json.dumps(newer), '{"kind": "epoch", "time"', "[]", "7"]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert FileEvents(tmp_path).read() == [PROGRESS]


def test_an_event_of_which_a_byte_has_changed_is_left_out_alone(tmp_path):
    content = b"".join(EVENTS.to_line(replace(PROGRESS, step=step)) for step in (1, 2, 3))
    flipped = content.replace(b'"step": 2,', b'"step": 6,')
    assert len(flipped) == len(content)
    (tmp_path / "events.jsonl").write_bytes(flipped)
    assert [event.step for event in FileEvents(tmp_path).read()] == [1, 3]
