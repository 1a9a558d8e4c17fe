"""`make gpu` must be right at the first try: what its table says of parts that succeed, fail, hang and have no time."""

import subprocess
import sys

import on_gpu
import parts
import pytest
import torch
from on_gpu import run_all, run_part, table
from step_parts import PARTS, parts_of_step

pytestmark = pytest.mark.slow


def python(code):
    return (sys.executable, "-c", code)


def test_a_part_that_succeeds_fails_or_hangs_is_a_row(tmp_path):
    ok = run_part(
        "ok", "cpu", 60, tmp_path, python(f"open('{tmp_path}/ok.json', 'w').write('[[\"speed\", \"3 | 4\"]]')")
    )
    bad = run_part("bad", "cpu", 60, tmp_path, python("raise ImportError('no module named ray')"))
    odd = run_part("odd", "cpu", 60, tmp_path, python("raise SystemExit('ValueError: three\\n  a line of its source')"))
    hung = run_part("hung", "cpu", 2, tmp_path, python("import time; print('at it', flush=True); time.sleep(600)"))
    assert (ok.rows, ok.failed) == ([("speed", "3 | 4")], False)
    assert (bad.rows, bad.failed) == ([("bad", "failed: ImportError: no module named ray")], True)
    assert odd.rows == [("odd", "failed: ValueError: three")]
    assert hung.failed
    assert hung.rows[0][1].startswith("not done after 2 s: ")
    assert hung.seconds < 60
    assert "| speed | 3 / 4 |" in table([ok, bad, hung])


def test_without_time_nothing_is_begun(tmp_path, capsys):
    found = run_all(("machine", "tests"), "cpu", 1.0, tmp_path)
    assert [part.rows for part in found] == [[(name, "not run: the time was over")] for name in ("machine", "tests")]
    assert "not run" in capsys.readouterr().out


def test_every_part_is_there_and_the_limits_leave_time_for_the_first_ones():
    assert set(on_gpu.LIMITS) | set(on_gpu.ON_CPU) == set(parts.PARTS)
    assert sum(list(on_gpu.LIMITS.values())[:5]) < 8 * 60


def test_the_parts_of_a_step_are_timed():
    found = parts_of_step("nano", 64, 2, "fp16", torch.device("cpu"), 2)
    assert list(found) == [*PARTS, "whole step"]
    assert all(milliseconds > 0 for milliseconds in found.values())


def test_the_command_writes_the_table(tmp_path):
    command = [sys.executable, on_gpu.__file__, "--device", "cpu", "--out", str(tmp_path), "machine"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "| device | CPU, " in (tmp_path / "table.md").read_text()
