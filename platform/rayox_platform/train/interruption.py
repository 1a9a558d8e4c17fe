"""Ctrl-C and SIGTERM while Ray Train works: all workers save and return at one step, then it is a KeyboardInterrupt.

Where no worker trains (they are started, or wait for room or for their first batch) nothing is waited for; a second
signal does not wait either. What still runs then ends with the connection to Ray. Ray's own handler, set where fit runs
in the main thread, ends the workers wherever they are and leaves with exit code 0: so fit gets a thread of its own, and
the main thread waits for its end or for a signal.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rayox_platform.runs.ending import tell_interrupted
from rayox_platform.runs.event_kinds import Failure, Note, RunEvent, Start
from rayox_platform.runs.events import Watch
from rayox_platform.runs.home import RunHome
from rayox_platform.storage.folders import Folder
from rayox_platform.train.preemption import STOP

SAVE_SECONDS = 20.0  # longest wait for the checkpoint
END_SECONDS = 5.0  # longest wait for an orderly end of the workers
LOOK_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Standing:
    """Whether workers train, as the events of the run tell it on their way to whoever they are shown to."""

    def __init__(self, show: Watch) -> None:
        self._show, self._started = show, False

    def show(self, event: RunEvent) -> None:
        if isinstance(event, Start | Failure):
            self._started = isinstance(event, Start)
        self._show(event)

    def say(self, text: str) -> None:
        """What a user should know, of this driver alone."""
        self._show(Note(text=text))

    def is_started(self) -> bool:
        return self._started


def fit_interruptibly(
    fit: Callable[[], object], home: RunHome, say: Callable[[str], None], is_started: Callable[[], bool]
) -> None:
    """Call fit. Raises what it raises, or KeyboardInterrupt after a signal.

    Rank 0 of the run at home looks for the mark of a stop; is_started tells whether there is a rank 0 that would. In
    another than the main thread no signal arrives, and fit is all that happens.
    """
    _take_back(home.shared)
    if threading.current_thread() is not threading.main_thread():
        fit()
        return
    running = _Running(fit)
    with _heard() as signals:
        running.start()
        while running.is_alive() and not signals:
            running.join(LOOK_SECONDS)
        if not signals:
            running.raise_failure()
            return
        _stop(running, signals, home, say, is_started)
    raise KeyboardInterrupt from running.failure


class _Running(threading.Thread):
    """A call in the background, and how it failed."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(name="rayox-fit", daemon=True)
        self._call = call
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._call()
        except BaseException as failure:  # noqa: BLE001  # raised again where it is waited for
            self.failure = failure

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


def _stop(
    running: _Running, signals: list[int], home: RunHome, say: Callable[[str], None], is_started: Callable[[], bool]
) -> None:
    """Returns when the workers have ended, or have been waited for as long as may be."""

    def wait(seconds: float, answered: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while running.is_alive() and len(signals) == 1 and not answered() and time.monotonic() < end:
            running.join(LOOK_SECONDS)

    if not is_started():
        tell_interrupted(home)
        say("stopping: no worker trains yet")
        return
    say("stopping: saving a checkpoint first; a second signal stops at once")
    answer = threading.Event()
    threading.Thread(target=_ask, args=(home, say, answer), name="rayox-stop", daemon=True).start()
    wait(SAVE_SECONDS, answer.is_set)
    wait(END_SECONDS, lambda: False)
    if not running.is_alive():  # else the mark stays, for workers that come to it later
        _take_back(home.shared)


def _ask(home: RunHome, say: Callable[[str], None], answer: threading.Event) -> None:
    """A store may take long, and a second signal does not wait for it: this is a thread's."""
    tell_interrupted(home)
    try:
        home.shared.write(STOP, b"")
        while home.shared.has(STOP):
            time.sleep(LOOK_SECONDS)
    except OSError:
        say("stopping without a checkpoint: the run's storage cannot be reached")
    answer.set()


@contextmanager
def _heard() -> Iterator[list[int]]:
    """The signals that have come so far, as a list that grows; Python's handlers are put back afterwards."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)  # no more: it runs in the middle of anything

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_back(marks: Folder) -> None:
    with suppress(OSError):  # one that stays ends the next start at once
        marks.remove(STOP)
