"""Events of a run in a folder: kept while the disk is full, told by several processes, followed as they come."""

import os
import subprocess
import sys

import pytest

from rayox_platform.runs.event_kinds import Note, Urgent
from rayox_platform.runs.events import FILE, FileEvents

TELL = """
import sys
from pathlib import Path
from rayox_platform.runs.event_kinds import Urgent
from rayox_platform.runs.events import FileEvents
for step in range(50):
    FileEvents(Path(sys.argv[1])).tell(Urgent(step=int(sys.argv[2]) + step, text="x" * 500))
"""


def steps(events):
    return [event.step for event in events]


def urgent(step):
    return Urgent(step=step, text="saved")


@pytest.fixture
def full(monkeypatch):
    """Fills the disk after so many bytes of a line, and makes room again."""
    write = os.write

    def fill(after: int) -> None:
        def refuse(file, content):
            if not fill.left:
                raise OSError(28, "No space left on device")
            count = write(file, content[: fill.left])
            fill.left -= count
            return count

        fill.left = after
        monkeypatch.setattr(os, "write", refuse)

    yield fill
    monkeypatch.undo()


@pytest.mark.parametrize("after", [0, 1, 30])
def test_what_a_full_disk_does_not_take_comes_with_a_later_event(tmp_path, full, monkeypatch, after):
    events, watched = FileEvents(tmp_path), []
    log, tail = events.log(watched.append), events.tail()
    log.write(urgent(0))
    full(after)
    log.write(urgent(1))
    log.write(urgent(2))
    assert steps(events.read()) == steps(tail()) == [0]
    monkeypatch.undo()
    log.write(urgent(3))
    assert steps(tail()) == [1, 2, 3]
    assert steps(events.read()) == steps(watched) == [0, 1, 2, 3]


def test_who_tells_one_event_hears_of_a_full_disk(tmp_path, full):
    full(10)
    with pytest.raises(OSError, match="No space left"):
        FileEvents(tmp_path).tell(urgent(0))


def test_a_line_cut_off_by_a_crash_costs_itself_alone(tmp_path):
    events = FileEvents(tmp_path)
    events.tell(urgent(0))
    tail = events.tail()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"kind": "urgent", "st')
    assert tail() == []
    events.log().write(urgent(1))
    assert steps(tail()) == [1]
    assert steps(events.read()) == [0, 1]


def test_several_processes_tell_beside_rank_0_and_a_tail_has_each_once(tmp_path):
    events = FileEvents(tmp_path)
    tail, log = events.tail(), events.log()
    command = [sys.executable, "-c", TELL, str(tmp_path)]
    others = [subprocess.Popen([*command, str(start)]) for start in (100, 200)]
    seen = []
    for step in range(50):
        log.write(urgent(step))
        seen += tail()
    assert [other.wait() for other in others] == [0, 0]
    seen += tail()
    assert sorted(steps(seen)) == sorted([*range(50), *range(100, 150), *range(200, 250)])
    assert seen == events.read()


def test_a_tail_begins_with_what_is_new_unless_all_is_wanted(tmp_path):
    events = FileEvents(tmp_path)
    early = events.tail()
    events.tell(Note(text="one"))
    late, whole = events.tail(), events.tail(whole=True)
    events.tell(Note(text="two"))
    assert [event.text for event in early()] == [event.text for event in whole()] == ["one", "two"]
    assert [event.text for event in late()] == ["two"]
