"""Ctrl-C while a training runs: it saves and ends; a second signal, or workers that never answer, end it at once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import patient, wait_until

from rayox_platform.runs.home import FolderHome
from rayox_platform.train import interruption
from rayox_platform.train.interruption import fit_interruptibly
from rayox_platform.train.preemption import STOP, stop_is_asked


@pytest.fixture
def home(tmp_path):
    return FolderHome(tmp_path)


@pytest.fixture
def marks(home):
    return home.shared


def always():
    return True


def signal_me(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_the_workers_and_waits_for_their_end(home, marks, number):
    said, steps = [], []

    def fit():
        signal_me(number)
        wait_until(lambda: stop_is_asked(marks))
        steps.append("saved")

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        fit_interruptibly(fit, home, said.append, always)
    assert steps == ["saved"]
    assert not marks.has(STOP), "the next start would end at once"
    assert said == ["stopping: saving a checkpoint first; a second signal stops at once"]
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait_and_leaves_the_mark(home, marks):
    over = threading.Event()

    def fit():
        signal_me()
        wait_until(lambda: stop_is_asked(marks))
        signal_me()
        over.wait()

    try:
        with pytest.raises(KeyboardInterrupt):
            fit_interruptibly(fit, home, lambda text: None, always)
        assert marks.has(STOP), "workers that come to it later stop as well"
    finally:
        over.set()


def test_workers_that_never_answer_are_left_after_a_while(home, monkeypatch):
    monkeypatch.setattr(interruption, "SAVE_SECONDS", 0.2)
    monkeypatch.setattr(interruption, "END_SECONDS", 0.2)
    over = threading.Event()

    def fit():
        signal_me()
        over.wait()

    try:
        with pytest.raises(KeyboardInterrupt):
            fit_interruptibly(fit, home, lambda text: None, always)
    finally:
        over.set()


def test_where_no_worker_trains_nothing_is_waited_for(home, marks):
    said, over = [], threading.Event()

    def fit():
        signal_me()
        over.wait()

    try:
        with pytest.raises(KeyboardInterrupt):
            fit_interruptibly(fit, home, said.append, lambda: False)
        assert said == ["stopping: no worker trains yet"]
        assert not marks.has(STOP)
    finally:
        over.set()


def test_without_a_signal_it_ends_and_fails_as_fit_does(home, marks):
    done = []
    marks.write(STOP, b"")  # of a driver that died while it waited
    fit_interruptibly(lambda: done.append(marks.has(STOP)), home, done.append, always)
    assert done == [False]

    def fail():
        raise LookupError("no such worker")

    with pytest.raises(LookupError, match="no such worker"):
        fit_interruptibly(fail, home, done.append, always)


def test_in_a_thread_of_somebody_else_it_is_fit_alone(home):
    names = []
    thread = threading.Thread(
        target=fit_interruptibly,
        args=(lambda: names.append(threading.current_thread().name), home, names.append, always),
    )
    thread.start()
    thread.join()
    assert names == [thread.name]


RANK = """
import sys
from pathlib import Path
import torch.distributed as dist
from rayox_platform.train.distributed import Agreement

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
agreed = Agreement(60.0)
asked_at = {0: 5, 1: 2}[rank]  # rank 1's own wish counts for nothing
step = 0
while not agreed(step >= asked_at):
    step += 1
Path(folder, f"{rank}.txt").write_text(str(step))
dist.destroy_process_group()  # else a busy machine may end the process before gloo's threads, which aborts it
"""


@pytest.mark.slow
def test_all_ranks_stop_at_the_step_that_rank_0_says(tmp_path: Path):
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(patient(120)) for process in ranks] == [0, 0]
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["5", "5"]
