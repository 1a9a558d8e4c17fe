"""SIGTERM and Ctrl-C in every phase of a run, by the real command line: it ends within seconds and leaves nothing.

A phase is known by what it leaves where others see it: a file, an event, a process, a request to the tracking server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import patient
from sessions import alive, processes_of, wait_until_gone

from rayox_platform.runs.event_kinds import Checkpoint, Progress, RunEvent, Stage, Start
from rayox_platform.runs.events import read_events
from rayox_platform.runs.overview import read_run
from rayox_platform.runs.places import open_runs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
SECONDS = 20.0  # generous: nine parts of ten are a busy machine's
SAVE_SECONDS = 25.0  # when something has trained, a checkpoint is waited for
# A worker that no node can hold, in spite of the calculator: as when others take the CPUs at that moment.
TOO_LARGE = """
import sys
from rayox_platform.resources.demand import Capacity
before = Capacity.reserved.fget
Capacity.reserved = property(lambda given: before(given) | {"CPU": 64.0})
from rayox.cli import main
sys.exit(main(sys.argv[1:]))
"""
Words = Callable[..., list[str]]


class Driver:
    """`rayox train` of the toy data set as a process of its own group, as a shell starts it."""

    def __init__(self, folder: Path, words: list[str], code: str | None = None) -> None:
        self.folder = folder
        head = [sys.executable, "-c", code] if code else [sys.executable, "-m", "rayox"]
        self.errors = (folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(
            [*head, "train", *words, "--name", "run", "--json"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "RAYOX_STATE"} | {"OMP_NUM_THREADS": "1"},
        )

    @property
    def run(self) -> Path:
        return self.folder / ".rayox" / "runs" / "run"

    def wait_for(self, condition: Callable[[], bool], seconds: float = 200) -> None:
        end = time.monotonic() + patient(seconds)
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def stopped(self, number: int, seconds: float, again_after: float | None = None) -> float:
        """Send the signal; seconds until it has ended as an interrupted run does, with nothing left of it."""
        below = processes_of(self.process.pid)
        began = time.monotonic()
        self._send(number)
        if again_after is not None:
            time.sleep(again_after)
            began = time.monotonic()
            self._send(number)
        try:
            out, _ = self.process.communicate(timeout=patient(seconds))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"it did not end: {self.said()}") from None
        took = time.monotonic() - began
        print(f"ended {took:.1f} s after {signal.Signals(number).name}")
        assert self.process.returncode == 130, self.said()
        assert json.loads(out.splitlines()[-1])["error"]["code"] == "interrupted"
        assert "Traceback" not in self.said()
        wait_until_gone(below)
        return took

    def _send(self, number: int) -> None:
        """Ctrl-C goes to the whole group, as a terminal sends it; SIGTERM to the driver alone."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)


@pytest.fixture
def words(toy_data) -> Words:
    def given(**values: object) -> list[str]:
        data = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
        data += [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]
        base = {"image_size": 64, "train.epochs": 40, "train.batch_size": 8, "data.lanes": 4, "train.workers": 2}
        settings = base | {name.replace("__", "."): value for name, value in values.items()}
        return ["scratch", *data, *(f"{name}={value}" for name, value in settings.items())]

    return given


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(words: list[str], code: str | None = None) -> Driver:
        drivers.append(Driver(tmp_path, words, code))
        return drivers[-1]

    yield start
    for driver in drivers:
        below = processes_of(driver.process.pid)
        for pid in below:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        driver.process.wait()
        driver.errors.close()


ENDED = """
import os, signal
from rayox.process.interrupts import interrupts_kept
from rayox_cluster.local import ray_session
with interrupts_kept(), ray_session("local", num_cpus=1):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ray_prints_no_stack_of_its_own_at_a_signal():
    done = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n"
    assert "SIGTERM received" not in done.stderr


def events(driver: Driver, kind: type[RunEvent]) -> list[RunEvent]:
    return [event for event in read_events(driver.run) if isinstance(event, kind)]


@contextmanager
def silent_server() -> Iterator[tuple[str, Callable[[], bool]]]:
    """The address of a server that takes requests and never answers, and whether one has come."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        taken: list[socket.socket] = []

        def asked() -> bool:
            try:
                taken.append(server.accept()[0])
            except BlockingIOError:
                return False
            return True

        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            for one in taken:
                one.close()


def has_ray(driver: Driver) -> bool:
    for pid in processes_of(driver.process.pid):
        try:
            if "gcs_server" in Path(f"/proc/{pid}/cmdline").read_text():
                return True
        except OSError:
            continue
    return False


def test_while_it_draws_its_data(start, tmp_path):
    driver = start(["shapes"])
    drawn = tmp_path / ".rayox"
    driver.wait_for(lambda: any(drawn.rglob("*.jpg")) and len(list(drawn.rglob("*.jpg"))) > 3)
    driver.stopped(signal.SIGTERM, SECONDS)
    assert not driver.run.exists()


def test_while_it_opens_the_tracking_store(start, words):
    with silent_server() as (address, asked):
        driver = start(words(tracking__uri=address))
        driver.wait_for(asked)
        driver.stopped(signal.SIGTERM, SECONDS)
    assert not driver.run.exists()
    assert "--resume" not in driver.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_starts_ray(start, words, number):
    driver = start(words())
    driver.wait_for(lambda: has_ray(driver))
    driver.stopped(number, SECONDS)
    assert not driver.run.exists()
    assert "--resume" not in driver.said()


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_waits_for_its_workers(start, words, number):
    driver = start(words(), TOO_LARGE)
    driver.wait_for(lambda: any(driver.run.glob("ray/run")))
    time.sleep(3)
    driver.stopped(number, SECONDS)


@pytest.mark.faults
def test_while_it_waits_for_its_first_batch(start, words):
    driver = start(words())
    driver.wait_for(lambda: bool(events(driver, Start)))
    driver.stopped(signal.SIGTERM, SAVE_SECONDS)


@pytest.mark.faults
def test_while_it_trains_a_checkpoint_is_saved_first(start, words):
    driver = start(words(train__evaluate_every=100))
    driver.wait_for(lambda: bool(events(driver, Progress)))
    time.sleep(2)
    driver.stopped(signal.SIGTERM, SAVE_SECONDS)
    saved = [event.step for event in events(driver, Checkpoint)]
    assert saved
    assert "--resume run goes on from the newest checkpoint" in driver.said()
    assert read_run(open_runs(str(driver.run.parent)).home("run")).state == "interrupted"


@pytest.mark.faults
def test_a_second_signal_does_not_wait(start, words):
    driver = start(words(), TOO_LARGE)
    driver.wait_for(lambda: any(driver.run.glob("ray/run")))
    driver.stopped(signal.SIGTERM, 8, again_after=0.3)


@pytest.mark.faults
def test_while_it_evaluates(start, words):
    driver = start(words())
    driver.wait_for(lambda: any("evaluating" in event.text for event in events(driver, Stage)))
    driver.stopped(signal.SIGTERM, SAVE_SECONDS)


@pytest.mark.faults
def test_while_it_exports(start, words):
    driver = start(words(train__epochs=1, train__closing_epochs=0, train__warmup_epochs=0))
    driver.wait_for(lambda: (driver.run / "predictions").exists())
    driver.stopped(signal.SIGTERM, SECONDS)
    assert not (driver.run / "result.json").exists()
