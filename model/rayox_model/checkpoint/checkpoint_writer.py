"""Checkpoints written beside the training: a step waits only for the copy, and for the one before if that is not done.

A checkpoint that cannot be written (a full disk, a share that is away) is reported and training goes on: the next one
tries again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

from rayox_model.checkpoint.snapshot import Snapshot


@dataclass(frozen=True)
class Written:
    """What became of a checkpoint: where it is, or why it is not."""

    step: int
    path: str | None
    error: OSError | None
    seconds: float


class CheckpointWriter:
    """Writes one snapshot at a time in a thread of its own; a context manager, which ends with the last one written.

    write puts a snapshot in its place and returns its path or address; done is told of every one, from that thread.
    """

    def __init__(self, write: Callable[[Snapshot], str], done: Callable[[Written], None]) -> None:
        self._write, self._done = write, done
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join()

    def submit(self, snapshot: Snapshot) -> None:
        """Start writing; first wait for the one before. Raises what is not a fault of the storage."""
        self.wait()
        self._thread = Thread(target=self._run, args=(snapshot,), name="rayox-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until the last one is written, or is known not to be."""
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def _run(self, snapshot: Snapshot) -> None:
        began = time.perf_counter()
        path, error = None, None
        try:
            path = self._write(snapshot)
        except OSError as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001  # raised in the training's own thread, by wait
            self._failure = failure
            return
        self._done(Written(snapshot.facts.step, path, error, time.perf_counter() - began))
