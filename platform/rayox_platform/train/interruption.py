"""Ctrl-C and SIGTERM while Ray Train works: rank 0 saves first, then the workers end, then it is a KeyboardInterrupt.

Where no worker trains (they are started, or wait for room or for their first batch) nothing is waited for: Ray Train's
controller, which may be busy waiting itself, is ended with all it has started. A second signal does not wait either.
Ray's own handler ends the workers wherever they are and leaves with exit code 0.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import ray
import ray.train.torch
from ray.exceptions import GetTimeoutError, RayError
from ray.train.v2._internal.execution.controller import TrainController

from rayox_platform.runs.ending import tell_interrupted
from rayox_platform.runs.events import RunEvent
from rayox_platform.runs.home import RunHome
from rayox_platform.train.preemption import STOP

SAVE_SECONDS = 20.0  # longest wait for the checkpoint
END_SECONDS = 5.0  # longest wait for an orderly end of the workers
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Standing:
    """Whether workers train, as the events of the run tell it on their way to whoever they are shown to."""

    def __init__(self, show: Callable[[RunEvent], None]) -> None:
        self._show, self._started = show, False

    def show(self, event: RunEvent) -> None:
        if event["kind"] in ("start", "failure"):
            self._started = event["kind"] == "start"
        self._show(event)

    def say(self, text: str) -> None:
        """What a user should know, of this driver alone."""
        self._show({"kind": "note", "text": text})

    def is_started(self) -> bool:
        return self._started


class InterruptibleTrainer(ray.train.torch.TorchTrainer):  # type: ignore[misc]
    """A TorchTrainer whose fit ends by the signals as said above.

    Rank 0 of the run at home looks for the mark of a stop; is_started tells whether there is a rank 0 that would.
    """

    def __init__(
        self, *args: Any, home: RunHome, say: Callable[[str], None], is_started: Callable[[], bool], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._home, self._marks, self._say, self._is_started = home, home.shared, say, is_started
        self._asked = False

    def fit_interruptibly(self) -> None:
        """As fit, which Ray calls _register_sigint_handler in. Raises KeyboardInterrupt after a signal."""
        self._take_back()
        with _handlers_put_back():
            try:
                self.fit()
            except (RayError, ray.train.TrainingFailedError, SystemExit) as end:
                if not self._asked:
                    raise
                raise KeyboardInterrupt from end
            finally:
                self._take_back()
        if self._asked:  # it was over before it could be ended
            raise KeyboardInterrupt

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        """As Ray's, but for its runtime_env: with the job's own the controller is a process that waits already.

        An environment of the controller's own is also that of all that it starts: Ray Data's tasks too.
        """
        here = {ray._raylet.RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        controller = ray.remote(num_cpus=0, label_selector=here)(TrainController).remote(**arguments)
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(controller)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())

    def _register_sigint_handler(self, controller: Any) -> None:
        def handle(number: int, frame: FrameType | None) -> None:
            if not self._asked:
                self._asked = True
                # A handler runs in the middle of anything: whoever says or writes something may hold a lock just now.
                threading.Thread(target=self._end_when_saved, args=(controller,), daemon=True).start()
            else:
                ray.kill(controller)

        for number in SIGNALS:
            signal.signal(number, handle)

    def _take_back(self) -> None:
        with suppress(OSError):  # one that stays costs the next start a checkpoint
            self._marks.remove(STOP)

    def _end_when_saved(self, controller: Any) -> None:
        tell_interrupted(self._home)
        if not self._is_started():
            self._say("stopping: no worker trains yet")
            ray.kill(controller)
            return
        self._say("stopping: saving a checkpoint first; once more to stop at once")
        self._wait_until_saved()
        try:
            ray.get(controller.abort.remote(), timeout=END_SECONDS)
        except GetTimeoutError:
            ray.kill(controller)
        except RayError:
            return  # abort ends the controller itself

    def _wait_until_saved(self) -> None:
        end = time.monotonic() + SAVE_SECONDS
        try:
            self._marks.write(STOP, b"")
            while time.monotonic() < end and self._marks.has(STOP):
                time.sleep(0.2)
        except OSError:
            self._say("stopping without a checkpoint: the run's storage cannot be reached")


@contextmanager
def _handlers_put_back() -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if main:
            for number, handler in before.items():
                signal.signal(number, handler)
