"""What a run tells MLflow, on disk first: whole lines, an offset, nothing lost by a crash."""

import json
import math
from pathlib import Path

import pytest

from rayox_platform.runs import outbox
from rayox_platform.runs.journal import salvaged
from rayox_platform.runs.journal_file import FileJournal
from rayox_platform.runs.outbox import FILE, SENT, Outbox, Target, num_unsent, open_outbox, read_target, written_entries
from rayox_platform.runs.outbox_entries import (
    ENTRIES,
    DatasetUse,
    Pictures,
    Points,
    Registration,
    Status,
    Tags,
    TextFile,
)

EXAMPLES = [
    Points({"AP": 0.5, "loss": 1e-300}, 3, 1700000000.1234567),
    Tags({"a": "ü\n"}),
    TextFile("x.txt", "one\ntwo\n"),
    Pictures("predictions", "predictions"),
    DatasetUse("train", "ab", "train.json", "training", "{}"),
    Registration("blood", "model.onnx", {"AP": 0.5}, 3, {"run": "one"}),
    Status("FINISHED", 1.5),
]


@pytest.fixture
def opened(tmp_path):
    """Opens the outbox of tmp_path, or what it is given, and closes it at the end."""
    boxes = []

    def open_one(make=lambda: Outbox(tmp_path)) -> Outbox:
        boxes.append(make())
        return boxes[-1]

    yield open_one
    for box in boxes:
        box.close()


def point(step: int) -> Points:
    return Points({"loss": 1.0 / (1 + step)}, step, 1000.0 + step)


def read(lines: bytes) -> list[object]:
    return ENTRIES.known(salvaged(lines).records)


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_one_line_that_reads_back(entry):
    line = ENTRIES.to_line(entry)
    assert line.count(b"\n") == 1
    assert read(line) == [entry]


def test_a_loss_that_is_no_number_reads_back():
    (found,) = read(ENTRIES.to_line(Points({"loss": math.nan, "rate": math.inf}, 1, 1.0)))
    assert math.isnan(found.metrics["loss"])
    assert found.metrics["rate"] == math.inf


@pytest.mark.parametrize("line", ["", "{", "[]", '"x"', "{}", '{"kind": "Holes"}', '{"kind": "Tags", "colour": 1}'])
def test_what_is_no_entry_is_none(line):
    assert read(f"{line}\n".encode()) == [None]


def test_what_was_added_is_unsent_until_it_is_acknowledged_also_for_another_process(opened, tmp_path):
    box = opened()
    for step in range(5):
        box.add(point(step))
    lines = box.unsent()
    box.acknowledge(lines[2].end)
    again = opened()
    assert [line.entry for line in again.unsent()] == [point(3), point(4)]
    assert num_unsent(tmp_path) == 2
    assert list(written_entries(tmp_path)) == [point(step) for step in range(5)]


def test_a_line_cut_off_by_a_crash_is_cut_and_the_next_is_whole(opened, tmp_path):
    box = opened()
    box.add(point(0))
    with (tmp_path / FILE).open("ab") as file:
        file.write(ENTRIES.to_line(point(1))[:20])
    assert [line.entry for line in box.unsent()] == [point(0)]  # half a line waits for its end
    again = opened()
    again.add(point(2))
    assert [line.entry for line in again.unsent()] == [point(0), point(2)]
    again.acknowledge(again.unsent()[-1].end)
    assert again.unsent() == []


def test_a_damaged_entry_is_left_out_alone(opened, tmp_path):
    box = opened()
    for step in range(3):
        box.add(point(step))
    content = bytearray((tmp_path / FILE).read_bytes())
    content[content.index(b'"step":1') + len('"step":')] ^= 2
    (tmp_path / FILE).write_bytes(content)
    assert [line.entry for line in opened().unsent()] == [point(0), None, point(2)]
    assert list(written_entries(tmp_path)) == [point(0), point(2)]


def test_the_file_of_an_older_version_is_sent_on_and_added_to(opened, tmp_path):
    """Lines without number and checksum, one of them cut off by a crash, and an offset in bytes."""
    first, second, third = (json.dumps(ENTRIES.to_json(point(step))) + "\n" for step in range(3))
    lines = [first, second, '{"kind": "Poi\n', third]
    (tmp_path / FILE).write_text("".join(lines))
    (tmp_path / SENT).write_text(str(len(lines[0])))
    assert num_unsent(tmp_path) == 3
    box = opened()
    box.add(point(3))
    assert [line.entry for line in box.unsent()] == [point(1), None, point(2), point(3)]
    box.acknowledge(box.unsent()[1].end)
    assert [line.entry for line in opened().unsent()] == [point(2), point(3)]


def test_what_a_power_cut_took_after_it_was_sent_makes_place_for_new_entries(opened, tmp_path):
    box = opened()
    for step in range(3):
        box.add(point(step))
    box.acknowledge(box.unsent()[-1].end)
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(lines[0])
    opened().add(point(4))
    assert num_unsent(tmp_path) == 1
    assert [line.entry for line in opened().unsent()] == [point(4)]


def test_unsent_entries_are_read_in_parts_and_none_is_left_out(opened, monkeypatch):
    monkeypatch.setattr(outbox, "BYTES_AT_ONCE", 100)
    box, found = opened(), []
    entries = [*map(point, range(9)), TextFile("log.txt", "long" * 1000)]
    for entry in entries:
        box.add(entry)
    box.acknowledge(2)
    while lines := box.unsent():
        assert len(lines) < 4
        found += [line.entry for line in lines]
        box.acknowledge(lines[-1].end)
    assert found == entries[2:]


@pytest.mark.parametrize("offset", ["", "12x", "99999999", "99 entries"])
def test_a_broken_offset_loses_nothing_that_is_there(opened, tmp_path, offset):
    opened().add(point(0))
    (tmp_path / SENT).write_text(offset)
    box = opened()
    box.add(point(1))
    assert box.unsent()[-1].entry == point(1)


def test_a_spool_that_went_to_another_run_is_sent_again_as_a_whole(opened, tmp_path):
    first, second = Target("http://a", "1", "one"), Target("http://b", "1", "two")
    box = opened(lambda: open_outbox(tmp_path, first))
    box.add(point(0))
    box.acknowledge(box.unsent()[-1].end)
    assert opened(lambda: open_outbox(tmp_path, first)).unsent() == []
    assert len(opened(lambda: open_outbox(tmp_path, second)).unsent()) == 1
    assert read_target(tmp_path) == second


def test_a_full_disk_is_counted_and_raises_nothing(opened):
    """/dev/full takes nothing."""
    box = opened()
    box._journal = FileJournal(Path("/dev/full"), durable=False, strict=False)
    box.add(point(0))
    box.add(point(1))
    assert box.lost == 2
