"""Whatever happens while a checkpoint is written or after, a good one is loaded or none: never a wrong number.

Processes are really killed, bytes really flipped, writes really refused by the system.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from make_checkpoint import FACTS, golden_state, save_checkpoint, settings

from rayox_model.checkpoint.checkpoint_folder import newest_checkpoint
from rayox_model.checkpoint.checkpoint_writer import CheckpointWriter
from rayox_model.checkpoint.snapshot import (
    FILES,
    MANIFEST,
    restore,
    take_snapshot,
    verify,
    write_checkpoint,
)
from rayox_model.core.errors import ModelError
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state

pytestmark = pytest.mark.slow

# Saves step 2 beside step 1, drops what is old, and dies by SIGKILL right before its system call number K.
SAVE_AND_DIE = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from make_checkpoint import FACTS, golden_state, save_checkpoint
from rayox_model.checkpoint.checkpoint_folder import prune
parent = Path(sys.argv[2])
state = golden_state()
CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.scandir")
for death in range(10_000):
    child = os.fork()
    if child == 0:
        left = death
        def strike(event, arguments):
            global left
            if event in CALLS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(strike)
        save_checkpoint(parent / f"{death}", state, replace(FACTS, step=2))
        prune(parent / f"{death}", keep=1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        print(death, os.waitstatus_to_exitcode(status))
        break
    print(death, flush=True)
    sys.stdin.readline()  # the test has looked
"""


@pytest.fixture(scope="module")
def state():
    torch.set_num_threads(1)
    return golden_state()


def assert_same_state(folder, state):
    loaded = new_state(YOLOX("nano", 2), settings(), torch.device("cpu"))
    restore(folder, loaded)
    for mine, others in (
        (loaded.model.state_dict(), state.model.state_dict()),
        (loaded.ema.module.state_dict(), state.ema.module.state_dict()),
    ):
        assert all(torch.equal(mine[name], others[name]) for name in others)
    for mine, others in zip(loaded.optimizer.state.values(), state.optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[name], others[name]) for name in others)


@pytest.mark.timeout(300)
def test_killed_before_any_call_of_the_file_system_a_whole_checkpoint_is_left(tmp_path, state):
    """Every commit point once: the process dies before its 1st, 2nd, … file operation, until it gets through."""
    golden = Path(__file__).parents[1] / "golden"
    first = save_checkpoint(tmp_path / "first", state, replace(FACTS, step=1))
    wanted = (first / "ema.safetensors").read_bytes(), (first / "training.pt").read_bytes()
    command = [sys.executable, "-c", SAVE_AND_DIE, str(golden), str(tmp_path)]
    found = []
    shutil.copytree(first, tmp_path / "0" / first.name, copy_function=os.link)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            death = int(line.split()[0])
            newest = newest_checkpoint(tmp_path / str(death))
            found.append(newest.name)
            assert ((newest / "ema.safetensors").read_bytes(), (newest / "training.pt").read_bytes()) == wanted
            shutil.rmtree(tmp_path / str(death))
            if " " in line:
                break
            shutil.copytree(first, tmp_path / str(death + 1) / first.name, copy_function=os.link)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert line.split()[1] == "0"
    deaths = len(found) - 1
    assert deaths >= 15, found  # that many calls a save and a prune have at least
    assert found[0] == "step-00000001"
    assert found[-1] == "step-00000002"
    assert found == sorted(found), "what was committed once stays"


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_no_flipped_byte_is_ever_loaded(tmp_path, state, name):
    """40 bytes a file, each flipped in turn: the checkpoint is refused, or is the same to the last number."""
    folder = save_checkpoint(tmp_path, state, FACTS)
    path = folder / name
    whole = path.read_bytes()
    draw = random.Random(name)
    places = {0, 1, len(whole) - 1} | {draw.randrange(len(whole)) for _ in range(40)}
    refused = 0
    with path.open("r+b") as file:
        for place in sorted(places):
            mask = 1 << draw.randrange(8)
            _poke(file, place, whole[place] ^ mask)
            try:
                verify(folder)
            except ModelError:
                refused += 1
            else:
                assert_same_state(folder, state)
            _poke(file, place, whole[place])
    assert refused >= len(places) - (10 if name == MANIFEST else 0)  # its white space means nothing
    assert_same_state(folder, state)


def _poke(file, place, value):
    file.seek(place)
    file.write(bytes([value]))
    file.flush()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_no_cut_file_is_ever_loaded(tmp_path, state, name):
    folder = save_checkpoint(tmp_path, state, FACTS)
    whole = (folder / name).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(ModelError):
            restore(folder, state)
    (folder / name).write_bytes(whole + b" ")
    if name != MANIFEST:
        with pytest.raises(ModelError):
            restore(folder, state)


def test_a_file_in_place_of_another_is_refused(tmp_path, state):
    folder = save_checkpoint(tmp_path, state, FACTS)
    shutil.copy(folder / "model.safetensors", folder / "ema.safetensors")
    with pytest.raises(ModelError, match=r"ema\.safetensors: damaged"):
        restore(folder, state)


@pytest.fixture
def small_files():
    """The system refuses to write past a megabyte of any file, as a full disk or a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.slow
def test_what_cannot_be_written_is_told_and_the_next_one_is_tried(tmp_path, state, request):
    save_checkpoint(tmp_path, state, replace(FACTS, step=1))
    lift = request.getfixturevalue("small_files")
    told = []
    with CheckpointWriter(lambda snapshot: str(write_checkpoint(tmp_path, snapshot)), told.append) as writer:
        writer.submit(take_snapshot(state, replace(FACTS, step=2)))
        writer.wait()
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
        lift()
        writer.submit(take_snapshot(state, replace(FACTS, step=3)))
    assert [(one.step, one.path and Path(one.path).name) for one in told] == [(2, None), (3, "step-00000003")]
    assert isinstance(told[0].error, OSError)
    assert newest_checkpoint(tmp_path).name == "step-00000003"


def test_a_snapshot_is_of_the_moment_it_was_taken(tmp_path):
    """Training moves every tensor while the writer is still at it."""
    state = golden_state()
    snapshot = take_snapshot(state, FACTS)
    with torch.no_grad():
        for tensor in (*state.model.state_dict().values(), *state.ema.module.state_dict().values()):
            tensor.fill_(0)
        for moments in state.optimizer.state.values():
            moments["exp_avg"].fill_(-1)
    assert_same_state(write_checkpoint(tmp_path, snapshot), golden_state())


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_disk(state):
    def broken(snapshot):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), CheckpointWriter(broken, lambda written: None) as writer:  # noqa: PT012
        writer.submit(take_snapshot(state, FACTS))
        writer.wait()


def test_random_states_go_on_where_they_were(tmp_path):
    """In a process of its own: the checks of signatures in tests draw random numbers themselves."""
    script = """
import random, sys
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from make_checkpoint import FACTS, golden_state
from rayox_model.checkpoint.snapshot import restore, take_snapshot, write_checkpoint
def seed(number):
    random.seed(number), np.random.seed(number), torch.manual_seed(number)
def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(3).tolist()
state = golden_state()
seed(5), draw()
snapshot = take_snapshot(state, FACTS)
wanted = draw()
folder = write_checkpoint(Path(sys.argv[2]), snapshot)
seed(6)
restore(folder, state)
assert draw() == wanted
"""
    golden = Path(__file__).parents[1] / "golden"
    subprocess.run([sys.executable, "-c", script, str(golden), str(tmp_path)], check=True)


@pytest.mark.slow
def test_drafts_of_a_crash_are_taken_away(tmp_path, state):
    from rayox_model.checkpoint.checkpoint_folder import prune

    (tmp_path / ".draft-1234").mkdir()
    save_checkpoint(tmp_path, state, FACTS)
    prune(tmp_path, keep=1)
    assert os.listdir(tmp_path) == ["step-00000007"]
