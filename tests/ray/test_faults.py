"""A run survives any single fault and ends as if there had been none: killed, hung, stopped, its disk refused.

Two seeded points of each are part of every test run; all of them are swept by `make faults`.
"""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from patience import patient
from toy_runs import assert_same_weights, starts, toy_config, train

from rayox_platform.runs.event_kinds import CheckpointFailed, Start
from rayox_platform.train.fault_injection import Hang, Kill

pytestmark = pytest.mark.ray
STEPS = 9


@pytest.fixture(scope="module")
def whole(undisturbed):
    """The undisturbed run, and its state folder as that of the tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYOX_STATE", str(undisturbed[0] / "state"))
        yield undisturbed[:2]


def faulty(whole, toy_data, name, faults=(), show=lambda event: None, **settings):
    folder, undisturbed = whole
    config = toy_config(toy_data, folder, name, every_steps=2, **settings)
    finished = train(config, show, faults)
    assert finished.steps == STEPS
    assert_same_weights(finished, undisturbed)
    assert finished.metrics == undisturbed.metrics
    return folder / name


class KilledWhileWriting(threading.Thread):
    """SIGKILL of rank 0 as soon as a checkpoint of its is half on the disk: files there, no manifest yet."""

    def __init__(self, run: Path, after_step: int) -> None:
        super().__init__(daemon=True)
        self.run_folder, self.after_step = run, after_step
        self.struck: list[str] = []

    def run(self) -> None:
        while not self.struck:
            for draft in self.run_folder.glob("checkpoints/.draft-*"):
                last = starts(self.run_folder)
                if self._is_half(draft) and last and self._past(self.after_step):
                    self._strike(last[-1].pid, draft)
            time.sleep(0.0002)

    def _strike(self, pid: int, draft: Path) -> None:
        """Stopped first: it may have gone on meanwhile and finished."""
        os.kill(pid, signal.SIGSTOP)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.0002)
        if self._is_half(draft):
            self.struck = sorted(path.name for path in draft.iterdir())
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _is_half(draft: Path) -> bool:
        return (draft / "ema.safetensors").exists() and not (draft / "manifest.json").exists()

    def _past(self, step: int) -> bool:
        names = [path.name for path in self.run_folder.glob("checkpoints/step-*")]
        return bool(names) and int(max(names)[5:]) >= step


def test_killed_hung_and_killed_in_the_middle_of_a_checkpoint_it_ends_the_same(whole, toy_data):
    """One run, three faults at seeded points; every rank's stack is kept of the one that hung."""
    folder, _ = whole
    draw = random.Random(2)
    killer = KilledWhileWriting(folder / "three", draw.randrange(2, 4))
    kill, hang = Kill(draw.randrange(2), draw.randrange(5, 7)), Hang(draw.randrange(2), draw.randrange(7, STEPS), 900)
    killer.start()
    run = faulty(whole, toy_data, "three", (kill, hang), timeout_seconds=patient(20))
    assert killer.struck, "no checkpoint was ever half written"
    assert len(starts(run)) == 4
    assert not list(run.glob("checkpoints/.draft-*"))
    stacks = sorted((run / "stacks").iterdir())
    assert [path.name for path in stacks] == ["rank-0.txt", "rank-1.txt"]
    assert f"rank {hang.rank}" in stacks[hang.rank].read_text()
    assert "in strike" in stacks[hang.rank].read_text(), "where it hung"
    assert "in broadcast" in stacks[1 - hang.rank].read_text() or "in all_reduce" in stacks[1 - hang.rank].read_text()


@pytest.mark.faults  # a refused write itself is part of every run, in a process without Ray
def test_a_disk_that_refuses_is_named_and_training_goes_on(whole, toy_data):
    """The checkpoints lie on a file system of 60 MB that something else fills up, and leaves again at the end."""
    folder, undisturbed = whole
    checkpoints = folder / "full" / "checkpoints"
    checkpoints.mkdir(parents=True)
    if os.system(f"mount -t tmpfs -o size=60m tmpfs '{checkpoints}' 2>/dev/null"):
        pytest.skip("needs the right to mount a small file system")
    filler, events = checkpoints / "filler", []

    def show(event):
        events.append(event)
        if isinstance(event, Start):
            filler.write_bytes(bytes(35_000_000))
        elif isinstance(event, CheckpointFailed) and event.step == STEPS:
            filler.unlink()

    try:
        finished = train(toy_config(toy_data, folder, "full", every_steps=2), show)
        failed = [event for event in events if isinstance(event, CheckpointFailed)]
        assert {event.step for event in failed} >= {4, 6, STEPS}
        assert "No space left on device" in failed[0].text
        assert str(checkpoints) in failed[0].text
        assert finished.steps == STEPS
        assert_same_weights(finished, undisturbed)
    finally:
        os.system(f"umount '{checkpoints}'")


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_after_every_single_step(whole, toy_data):
    """One run in which each step is the last of one rank once: nine deaths, one after the other."""
    deaths = tuple(Kill(step % 2, step) for step in range(1, STEPS + 1))
    run = faulty(whole, toy_data, "every-step", deaths, max_failures=len(deaths))
    print(f"started at steps {[event.step for event in starts(run)]}")
    assert len(starts(run)) == 1 + len(deaths)


class KilledAtRandom(threading.Thread):
    """SIGKILL of rank 0 a random time after each of its starts, to the microsecond."""

    def __init__(self, run: Path, deaths: int, longest_seconds: float) -> None:
        super().__init__(daemon=True)
        self.run_folder, self.deaths = run, deaths
        draw = random.Random(7)
        self.delays = [draw.uniform(0, longest_seconds) for _ in range(deaths)]

    def run(self) -> None:
        for number, delay in enumerate(self.delays):
            while len(found := starts(self.run_folder)) <= number:
                time.sleep(0.01)
            time.sleep(delay)
            try:
                os.kill(found[number].pid, signal.SIGKILL)
            except ProcessLookupError:
                return


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_at_random_microseconds(whole, toy_data):
    folder, _ = whole
    killer = KilledAtRandom(folder / "random", deaths=8, longest_seconds=6.0)
    killer.start()
    run = faulty(whole, toy_data, "random", max_failures=killer.deaths)
    print(f"killed after {[round(delay, 6) for delay in killer.delays]} s; {[e.step for e in starts(run)]}")
    assert len(starts(run)) > 2
