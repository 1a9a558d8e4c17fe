"""Runs as their folders tell them: recorded events, locks of living and dead drivers, spools."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.runs.ending import end_told
from rayox_platform.runs.event_kinds import BadImages, Checkpoint, Epoch, Progress, RunEvent, Stage, Start
from rayox_platform.runs.events import FileEvents
from rayox_platform.runs.home import FolderHome
from rayox_platform.runs.outbox import Outbox
from rayox_platform.runs.outbox_entries import Points, Status
from rayox_platform.runs.run_lock import claimed

NOW = time.time()
START = Start(step=0, workers=2, num_steps=40, epochs=4, checkpoint_time=NOW - 60)
METRICS = {"AP": 0.25, "AP50": 0.5, "AP_small": -1.0, "loss_total": 9.0, "images_per_second": 20.0}


def progress(step: int) -> Progress:
    rates = {"images_per_second": 20.0, "data_wait_fraction": 0.1, "data_seconds": 0.0, "learning_rate": 0.01}
    return Progress(step=step, epoch=step // 10, loss_total=9.0, loss_iou=3.0, **rates)


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, step=number * 10, metrics=METRICS)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step=step, path=f"checkpoints/step-{step:08}")


def append(path: Path, *events: RunEvent, age: float = 10.0) -> None:
    for event in events:
        FileEvents(path).tell(replace(event, time=NOW - age))


@pytest.fixture
def runs(rayox):
    """A folder of runs: make one by name and events."""
    folder = Path(".rayox/runs").absolute()

    def make(name: str, *events: RunEvent, said: str = "", age: float = 10.0) -> Path:
        path = folder / name
        path.mkdir(parents=True)
        append(path, *events, age=age)
        outbox = Outbox(path)
        if said:
            outbox.add(Status("RUNNING", NOW))
            outbox.add(Status(said, NOW))
        outbox.close()
        return path

    return make


def test_the_list_has_every_run_with_its_state_the_latest_first(rayox, runs):
    runs("stopped", START, progress(5), said="KILLED", age=400)
    runs("failed", START, progress(7), said="FAILED", age=300)
    runs("dead", START, progress(9), age=200)
    done = runs("done", START, epoch(1), epoch(4), checkpoint(40), age=100)
    (done / "result.json").write_text(json.dumps({"registered": "models:/toy/1"}))
    with claimed(runs("training", START, epoch(1), progress(15))):
        said = rayox("runs", "list", "--json")
        lines = rayox("runs", "list").out.splitlines()
    assert [(run["name"], run["state"], run["step"]) for run in said.result["runs"]] == [
        ("training", "running", 15),
        ("done", "finished", 40),
        ("dead", "dead", 9),
        ("failed", "failed", 7),
        ("stopped", "interrupted", 5),
    ]
    assert lines[0].split() == ["run", "state", "step", "epoch", "AP", "last", "event"]
    assert lines[1].split()[:5] == ["training", "running", "15/40", "1/4", "0.250"]


def test_no_runs_is_said(rayox):
    assert "no run in" in rayox("runs", "list").out
    assert rayox("runs", "list", "--json").result == {"runs": []}


def test_another_folder_is_named_by_storage(rayox, runs, tmp_path):
    (tmp_path / "elsewhere" / "one").mkdir(parents=True)
    append(tmp_path / "elsewhere" / "one", START)
    assert "one" in rayox("runs", "list", f"storage={tmp_path / 'elsewhere'}").out


def test_show_says_where_a_run_stands_and_what_mlflow_lacks(rayox, runs):
    path = runs("toy", START, epoch(1), checkpoint(10), progress(12), START, progress(11))
    outbox = Outbox(path)
    outbox.add(Points({"AP": 0.5}, 1, NOW))
    outbox.close()
    said = rayox("runs", "show", "toy")
    assert "restarts    1" in said.out
    assert "metrics     AP 0.250  AP50 0.500\n" in said.out
    assert "1 entries unsent: `rayox runs sync toy`" in said.out
    found = rayox("runs", "show", "toy", "--json").result
    assert (found["state"], found["step"], found["checkpoint"]) == ("dead", 11, "checkpoints/step-00000010")


def test_cost_counts_the_time_of_workers_and_not_that_between_two_drivers(rayox, runs):
    """Two workers for 36 seconds; resumed an hour later, of which the new driver spends a minute on starting them."""
    later = NOW + 3600
    first = [replace(START, began=NOW, time=NOW + 2), replace(progress(5), time=NOW + 36)]
    again = [Stage(text="starting", time=later - 60), replace(START, began=later, time=later)]
    again += [replace(progress(9), time=later + 36), Stage(text="drawing predictions", time=later + 90)]
    path = runs("toy")
    for event in first + again:
        FileEvents(path).tell(event)
    found = rayox("runs", "cost", "toy", "--per-hour", "50", "--json").result
    assert (found["worker_hours"], found["cost"]) == (0.04, 2.0)


def test_a_run_that_is_not_there_is_refused_with_those_that_are(rayox, runs):
    runs("toy", START)
    for verb in ("show", "logs", "watch", "sync"):
        said = rayox("runs", verb, "toi")
        assert said.exit_code == 2
        assert "toi: no such run in" in said.err
        assert "there are: toy" in said.err


def test_logs_are_the_events_as_lines(rayox, runs):
    runs("toy", START, epoch(1), BadImages(images=["a.png: broken", "b.png: gone"]))
    lines = rayox("runs", "logs", "toy").out.splitlines()
    assert [line.split()[2] for line in lines] == ["start", "epoch", "bad_images"]
    assert "AP=0.25" in lines[1]
    assert lines[2].endswith("images=2: b.png: gone")


HOLD = """
import sys
from pathlib import Path
from rayox_platform.runs.run_lock import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def driver():
    """Holds a run's folder from another process until it is killed."""
    processes = []

    def hold(path: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("verb", [("logs", "--follow"), ("watch",)])
def test_a_run_of_another_process_is_followed_until_that_is_gone(rayox, runs, driver, verb):
    path = runs("toy", START, progress(5))
    process = driver(path)

    def train_on() -> None:
        time.sleep(1.0)
        append(path, epoch(1), progress(15))
        process.kill()

    thread = threading.Thread(target=train_on)
    thread.start()
    name, *flags = verb
    said = rayox("runs", name, "toy", *flags)
    thread.join()
    assert said.exit_code == (0 if name == "logs" else 8), "a run that ended without a word has failed"
    if name == "logs":
        assert [line.split()[2] for line in said.out.splitlines()] == ["start", "progress", "epoch", "progress"]
    else:
        assert "epoch 1/4  AP 0.250  AP50 0.500  loss 9.00  20.0 images/s" in said.err
        assert said.out == "toy is dead at step 15/40\n"


@pytest.mark.parametrize(
    ("error", "exit_code", "state"),
    [(DataError("a.png: no such image", "look"), 3, "failed"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_watching_a_run_whose_driver_has_said_how_it_ended_ends_with_its_exit_code(
    rayox, runs, error, exit_code, state
):
    path = runs("toy", START, progress(5))
    with pytest.raises(type(error)), end_told(FolderHome(path)):
        raise error
    said = rayox("runs", "watch", "toy", "--json")
    assert (said.exit_code, said.result["state"]) == (exit_code, state)


@pytest.mark.slow
def test_a_run_in_training_is_not_synced_beside_its_driver(rayox, runs, driver):
    path = runs("toy", START)
    (path / "tracking.json").write_text(json.dumps({"uri": "sqlite:///x.db", "experiment_id": "1", "run_id": "a"}))
    driver(path)
    said = rayox("runs", "sync", "toy")
    assert said.exit_code == 2
    assert "run toy is being trained by process" in said.err


def test_a_run_without_anything_for_mlflow_says_so(rayox, runs):
    runs("toy", START)
    said = rayox("runs", "sync", "toy")
    assert said.exit_code == 2
    assert "toy: no run in" in said.err


@pytest.mark.slow
def test_sync_sends_what_a_killed_driver_left_to_the_local_store(rayox, runs, toy_data):
    from rayox_platform.track.tracking import connect, open_run

    path = runs("toy", START)
    tracking = open_run(connect(None, Path(".rayox").absolute(), "rayox"), "toy", {}, {})
    target = {"uri": tracking.uri, "experiment_id": tracking.store.experiment_id, "run_id": tracking.run_id}
    (path / "tracking.json").write_text(json.dumps(target))
    outbox = Outbox(path)
    for entry in (Status("RUNNING", NOW), Points({"AP": 0.5}, 1, NOW)):
        outbox.add(entry)
    outbox.close()
    assert rayox("runs", "sync", "toy", "--json").result["sent"] == 3  # the last: KILLED
    run = tracking.client.get_run(tracking.run_id)
    assert (run.info.status, run.data.metrics) == ("KILLED", {"AP": 0.5})
    assert "up to date" in rayox("runs", "show", "toy").out


def test_runs_are_read_without_torch_ray_and_mlflow(runs):
    runs("toy", START)
    code = "import sys; from rayox.cli import main; main(['runs', 'list']); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "toy" in done.stdout
    assert not {"torch", "ray", "mlflow", "cv2"} & set(done.stdout.splitlines()[-1].split())
