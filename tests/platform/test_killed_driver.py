"""A driver that is killed with lines that MLflow does not have: another process sends them, once each."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rayox_platform.runs.event_kinds import EVENTS
from rayox_platform.runs.home import FolderHome
from rayox_platform.runs.outbox import num_unsent
from rayox_platform.track.record import Record
from rayox_platform.track.sender import sending
from rayox_platform.track.sync import sync_run
from rayox_platform.track.tracking import Tracking, connect, open_run

sys.path.insert(0, str(Path(__file__).parent))
from record_events import assert_whole, epoch, progress, settings

pytestmark = pytest.mark.slow

KILLED = """
import sys, time
from pathlib import Path
from record_events import epoch, progress, settings
from rayox_platform.runs.outbox_entries import Status
from rayox_platform.track.record import Record
from rayox_platform.track.sender import sending
from rayox_platform.runs.home import FolderHome
from rayox_platform.track.tracking import connect, open_run
state, folder = Path(sys.argv[1]), Path(sys.argv[2])
tracking = open_run(connect(None, state, "rayox"), folder.name, {}, {})
with sending(folder, tracking) as sender:
    record = Record(FolderHome(folder), sender, lambda event: None, settings())
    record.add(Status("RUNNING", time.time()))
    for step in range(1, 6):
        record.handle(progress(step))
    assert sender.drain(30)
    sender.stop()  # as if it hung in a request
    for step in range(6, 41):
        record.handle(progress(step))
        if step % 10 == 0:
            record.handle(epoch(step // 10))
    print("all", flush=True)
    time.sleep(600)
"""


def killed_driver(folder: Path, state: Path) -> None:
    """A driver that had sent a part, came no further with that, wrote the rest and is killed."""
    command = [sys.executable, "-c", KILLED, str(state), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert driver.stdout.readline() == "all\n"
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
    with (folder / "tracking.jsonl").open("a") as file:
        file.write('{"kind": "Points", "metr')  # as the crash of a machine leaves it


def test_what_a_killed_driver_left_is_sent_by_another_process_and_the_run_is_no_longer_running(tmp_path):
    folder = tmp_path / "runs" / "killed"
    killed_driver(folder, tmp_path / "state")
    assert num_unsent(folder) == 43
    done = sync_run(FolderHome(folder), 30.0)
    tracking = Tracking(connect(None, tmp_path / "state", "rayox"), done.run_id)
    assert_whole(tracking, 40, 4)
    assert tracking.client.get_run(done.run_id).info.status == "KILLED"
    (folder / "tracking.sent").write_text("0")  # everything once more
    sync_run(FolderHome(folder), 30.0)
    assert_whole(tracking, 40, 4)


def test_a_resumed_run_first_sends_what_was_left_and_trains_over_it_without_doubles(tmp_path):
    folder = tmp_path / "runs" / "resumed"
    killed_driver(folder, tmp_path / "state")
    # What the workers wrote after the driver's death, and what the driver had seen.
    events = [*map(progress, range(1, 44)), *map(epoch, range(1, 5))]
    (folder / "events.jsonl").write_bytes(b"".join(map(EVENTS.to_line, events)))
    tracking = open_run(connect(None, tmp_path / "state", "rayox"), "resumed", {}, {})
    with sending(folder, tracking) as sender:
        record = Record(FolderHome(folder), sender, lambda event: None, settings())
        for step in range(41, 51):  # the checkpoint was at step 40
            record.handle(replace(progress(step), time=5000.0 + step) if step < 44 else progress(step))
        record.handle(epoch(5))
        record.close("FINISHED")
        assert num_unsent(folder) == 0
    assert_whole(tracking, 50, 5)
    assert tracking.client.get_run(tracking.run_id).info.status == "FINISHED"
    assert len(tracking.client.search_runs([tracking.store.experiment_id], "tags.`rayox.run` = 'resumed'")) == 1
