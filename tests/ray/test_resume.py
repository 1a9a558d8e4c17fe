"""A driver that is killed, through the real command line: the same command with --resume auto ends as if it had not."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from patience import patient, wait_until

from rayox_model.checkpoint.checkpoint_folder import newest_checkpoint
from rayox_model.checkpoint.snapshot import averaged_weights
from rayox_platform.config import Config, load_config
from rayox_platform.runs.event_kinds import Progress, Start, Urgent
from rayox_platform.runs.events import read_events
from rayox_platform.track.record import recorded
from rayox_platform.track.tracking import connect
from rayox_platform.train.finishing import finish
from rayox_platform.train.prepare import prepare
from rayox_platform.train.training import fitted, train

pytestmark = pytest.mark.ray

RECIPE = """
image_size: 64
data:
  lanes: 4
  train: {{annotations: {data}/train.json, images: {data}/images}}
  val: {{annotations: {data}/val.json, images: {data}/images}}
model: {{size: nano}}
augment: {{mosaic_scale: [0.5, 1.5], mixup_prob: 0}}
train:
  epochs: {epochs}
  batch_size: 8
  workers: 2
  closing_epochs: 1
  warmup_epochs: 1
  multi_scale: 0
  optimizer: adamw
  learning_rate: 1e-4
  precision: fp32
  evaluate_every: 100
checkpoint: {{every_steps: 2}}
"""
EPOCHS = 30


@pytest.fixture
def start(tmp_path):
    """Runs `rayox train` in the test's folder; none is left running when the test fails."""
    running: list[subprocess.Popen[str]] = []

    def started(*words: str, plain: bool = False) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "rayox", "train", "toy.yaml", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"RAYOX_PLAIN_RAY": "1"} if plain else {})
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, env=environment)
        running.append(process)
        return process

    yield started
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.communicate()


def wait_for(condition, process, seconds=200):
    def ended_or_held():
        assert process.poll() is None, process.communicate()[1]
        return condition()

    wait_until(ended_or_held, seconds)


def alive_below(pid: int) -> list[int]:
    """Processes whose ancestors include one: what a driver has started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
    below = {pid}
    for _ in range(6):
        below |= {child for child, parent in parents.items() if parent in below}
    return sorted(below - {pid})


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_killed_driver_leaves_no_process_and_resume_auto_ends_with_the_same_weights(
    cluster, toy_data, start, tmp_path
):
    (tmp_path / "toy.yaml").write_text(RECIPE.format(data=toy_data, epochs=EPOCHS))
    killed = start()
    runs = tmp_path / ".rayox" / "runs"
    wait_for(lambda: any(int(path.name[5:]) >= 4 for path in runs.glob("toy-*/checkpoints/step-*")), killed)
    started = alive_below(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    (run,) = runs.glob("toy-*")
    assert not (run / "result.json").exists()

    resumed = start("--resume", "auto", "--json")
    out, err = resumed.communicate(timeout=patient(280))
    assert resumed.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert (result["name"], result["steps"]) == (run.name, 3 * EPOCHS)
    starts = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in starts if event["kind"] == "start"]
    assert len(steps) == 2
    assert 4 <= steps[1] < 3 * EPOCHS
    assert not [pid for pid in started if (Path("/proc") / str(pid)).exists()]

    assert_equal_to_uninterrupted(tmp_path, Path(result["checkpoint"]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "plain"), [(signal.SIGTERM, False), pytest.param(signal.SIGINT, True, marks=pytest.mark.faults)]
)
def test_asked_to_stop_it_saves_says_how_to_go_on_and_leaves_no_process(toy_data, start, tmp_path, number, plain):
    (tmp_path / "toy.yaml").write_text(
        RECIPE.format(data=toy_data, epochs=400).replace("every_steps: 2", "every_steps: 0")
    )
    process = start("--name", "stopped", "--json", plain=plain)
    run = tmp_path / ".rayox" / "runs" / "stopped"

    def events(kind):
        return [event for event in read_events(run) if isinstance(event, kind)]

    wait_for(lambda: [event for event in events(Progress) if event.step % 3], process)
    (first,) = events(Start)
    if not plain and os.environ.get("RAYOX_PLAIN_RAY") != "1":
        assert first.born < first.checkpoint_time, "its process was not there before the run was made"
    started = alive_below(process.pid)
    process.send_signal(number)
    if number == signal.SIGTERM:  # a scheduler sends it to all that the job has started
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    out, err = process.communicate(timeout=patient(100))
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "interrupted"
    assert "saving a checkpoint first" in err
    assert "--resume stopped" in err
    (urgent,) = events(Urgent)
    assert newest_checkpoint(run / "checkpoints").name == f"step-{urgent.step:08d}"
    assert not (run / "stop").exists()
    assert not [pid for pid in started if (Path("/proc") / str(pid)).exists()]


def assert_equal_to_uninterrupted(folder: Path, checkpoint: Path) -> None:
    """The same recipe on the session's cluster, without a command line and without a fault."""
    loaded = load_config(str(folder / "toy.yaml"), ["name=whole"], packaged=folder, environ={})
    config = Config.model_validate(loaded.config.model_dump() | {"storage": str(folder / "whole")})
    prepared = prepare(config, resume=False)
    store = connect(None, folder / "whole", config.tracking.experiment)
    with recorded(prepared.config, prepared.home, prepared.images, store, lambda event: None) as record:
        whole = finish(prepared, train(*fitted(prepared), record.handle), record)
    mine, others = (averaged_weights(path) for path in (checkpoint, Path(whole.checkpoint)))
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)
