"""A worker that stands still writes down where; once for each time, and not while it moves."""

import time

import pytest
from patience import patient

from rayox_platform.runs.home import FolderHome
from rayox_platform.train.watchdog import Watchdog


@pytest.mark.slow
def test_each_standstill_is_written_down_once(tmp_path):
    path, unit = tmp_path / "stacks" / "rank-1.txt", patient(1.0)
    with Watchdog(FolderHome(tmp_path).shared, 1, timeout_seconds=0.5 * unit) as dog:
        for _ in range(8):
            time.sleep(0.1 * unit)
            dog.beat()
        assert not path.exists(), "it moved all the time"
        for times in (1, 2):
            dog.beat()
            time.sleep(1.2 * unit)
            assert path.read_text().count("no step for") == times
    assert "test_each_standstill" in path.read_text()
