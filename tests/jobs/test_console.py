"""What goes to which stream, and progress as lines."""

import json
import time

import pytest

from rayox.terminal.console import Console, format_table
from rayox.terminal.progress import PlainProgress, duration, progress, progress_of_data


def test_the_result_is_the_last_line_and_all_else_is_on_standard_error(capsys):
    console = Console(as_json=True)
    console.note("starting")
    console.table(("metric", "value"), [("AP", 0.5)])
    console.result({"AP": 0.5, "AP_small": float("nan"), "per_class": [1.0, float("inf")]})
    said = capsys.readouterr()
    assert json.loads(said.out) == {"AP": 0.5, "AP_small": None, "per_class": [1.0, None]}
    assert said.err.splitlines() == ["starting", "metric  value", "AP      0.500"]


def test_people_read_tables_on_standard_output(capsys):
    console = Console()
    console.note("starting")
    console.table(("metric", "value"), [("AP", 0.5)])
    console.result({"AP": 0.5})
    said = capsys.readouterr()
    assert (said.out.splitlines(), said.err) == (["metric  value", "AP      0.500"], "starting\n")


def test_a_table_aligns_numbers_to_the_right():
    assert format_table(("class", "AP", "images"), [("cell", 0.25, 10), ("a", float("nan"), 7)]).splitlines() == [
        "class     AP  images",
        "cell   0.250      10",
        "a          –       7",
    ]


def test_an_empty_table_is_its_heading():
    assert format_table(("class", "AP"), []) == "class  AP"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_in_a_pipe_is_a_line_every_few_seconds(capsys):
    clock = Clock()
    lines = PlainProgress(40, "train", "images", clock)
    for _ in range(40):
        clock.now += 0.5
        lines.advance(1, f"loss {clock.now:.0f}" if clock.now == 4.0 else "")
    lines.close()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "train 10/40 images  2.0 images/s  ETA 0:15  loss 4",
        "train 20/40 images  2.0 images/s  ETA 0:10  loss 4",
        "train 30/40 images  2.0 images/s  ETA 0:05  loss 4",
        "train 40/40 images  2.0 images/s  loss 4",
    ]


def test_progress_of_unknown_length_has_no_eta(capsys):
    clock = Clock()
    lines = PlainProgress(None, "read", "files", clock)
    clock.now = 5.0
    lines.advance(10)
    lines.close()
    assert capsys.readouterr().err == "read 10 files  2.0 files/s\n"


def test_progress_of_nothing_says_nothing(capsys):
    with progress(0, "detect"):
        pass
    assert capsys.readouterr().err == ""


def test_data_that_take_long_are_said_to_be_read(capsys, monkeypatch):
    monkeypatch.setattr("rayox.terminal.progress.SILENT_SECONDS", 0.05)
    with progress_of_data():
        pass
    with progress_of_data() as drawing:
        drawing(1, 2)
        time.sleep(0.2)
    assert "reading" not in capsys.readouterr().err
    with progress_of_data():
        time.sleep(0.2)
    assert capsys.readouterr().err == "reading the data …\n"


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress(4, "detect [x]") as bar:
        bar.advance(2, "AP 0.5")
        bar.advance(2)
    said = capsys.readouterr().err
    assert "detect [x]" in said
    assert "4/4" in said


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_durations(seconds, text):
    assert duration(seconds) == text
