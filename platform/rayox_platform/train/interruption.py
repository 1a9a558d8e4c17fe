"""Ctrl-C and SIGTERM while Ray Train works: rank 0 saves first, then the workers end, then it is a KeyboardInterrupt.

Ray's own handler ends the workers wherever they are and leaves with exit code 0. A second signal does not wait.
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
from ray.exceptions import RayError
from ray.train.v2._internal.execution.controller import TrainController

from rayox_platform.storage.folders import Folder
from rayox_platform.train.preemption import STOP

SAVE_SECONDS = 20.0  # longest wait for the checkpoint
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptibleTrainer(ray.train.torch.TorchTrainer):  # type: ignore[misc]
    """A TorchTrainer whose fit ends by the signals as said above; marks are where rank 0 looks for a stop."""

    def __init__(self, *args: Any, marks: Folder, say: Callable[[str], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._marks, self._say = marks, say
        self._asked_at: float | None = None

    def fit_interruptibly(self) -> None:
        """As fit, which Ray calls _register_sigint_handler in. Raises KeyboardInterrupt after a signal."""
        self._take_back()
        with _handlers_put_back():
            try:
                self.fit()
            except (RayError, ray.train.TrainingFailedError, SystemExit) as end:
                if self._asked_at is None:
                    raise
                raise KeyboardInterrupt from end
            finally:
                self._take_back()
        if self._asked_at is not None:  # it was over before it could be ended
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
            if self._asked_at is None:
                self._asked_at = time.time()
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
        assert self._asked_at is not None
        self._say("stopping: saving a checkpoint first; once more to stop at once")
        try:
            self._marks.write(STOP, b"")
            while time.time() < self._asked_at + SAVE_SECONDS and self._marks.has(STOP):
                time.sleep(0.2)
        except OSError:
            self._say("stopping without a checkpoint: the run's storage cannot be reached")
        try:
            ray.get(controller.abort.remote())
        except RayError:
            return  # abort ends the controller itself


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
