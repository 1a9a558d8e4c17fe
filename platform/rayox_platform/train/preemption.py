"""Why a run should save at once (Ray has announced that a machine will be taken away) or stop (its driver was told to).

A thread of rank 0 looks every second, and answers by itself as long as there is nothing to save. Ray's own notice (a
drained node: a spot machine reclaimed, a node taken out of service) is read from its state and not by
ray.train.get_preemption_info, which all ranks would have to call in step.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

import ray

from rayox_platform.ray_internals.cluster_state import draining_nodes
from rayox_platform.storage.folders import Folder

STOP = "stop"  # a mark of a run: made by its driver, which waits until rank 0 has saved and taken it away
LOOK_SECONDS = 1.0


class Preemption:
    """Gives each reason to save out once, and tells whether the run is asked to stop.

    nothing_to_save tells whether a start can be given up without losing a step.
    """

    def __init__(self, marks: Folder, nothing_to_save: Callable[[], bool] = lambda: False) -> None:
        self._marks, self._nothing_to_save = marks, nothing_to_save
        self.asked_to_stop = False
        self._known: set[str] = set()
        self._reason: str | None = None
        self._over = Event()
        self._thread = Thread(target=self._look, name="rayox-preemption", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    def taken(self) -> str | None:
        """The reason to save now, if there is a new one."""
        reason, self._reason = self._reason, None
        return reason

    def answer(self) -> None:
        """Let the driver that asked for a stop go on: all is saved."""
        with suppress(OSError):  # then it waits for its full time
            self._marks.remove(STOP)

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if not self.asked_to_stop and stop_is_asked(self._marks):
                self.asked_to_stop = True
                if self._nothing_to_save():
                    self.answer()
            found = draining()
            new = {key: text for key, text in found.items() if key not in self._known}
            self._known |= set(new)
            if new:
                self._reason = "; ".join(new.values())


def stop_is_asked(marks: Folder) -> bool:
    """False also while the store does not answer; the next look may tell."""
    try:
        return marks.has(STOP)
    except OSError:
        return False


def draining() -> dict[str, str]:
    """Nodes that Ray will take away, by id: which one and how soon; none where there is no Ray."""
    nodes = draining_nodes() if ray.is_initialized() else {}
    return {node: f"node {node[:8]} is being taken away{_deadline(end)}" for node, end in nodes.items()}


def _deadline(milliseconds: int) -> str:
    """0 is an unknown deadline."""
    return f" in {max(0.0, milliseconds / 1000 - time.time()):.0f} s" if milliseconds else ""
