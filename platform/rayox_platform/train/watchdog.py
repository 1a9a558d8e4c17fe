"""A worker that has stopped moving writes down where it stands: the stack of every one of its threads.

The others wait for it in a collective, which ends with an error at the same time-out; Ray Train then starts all of them
again, so the stacks are what is left to see why. They are taken on the worker's own disk and then put beside the run's
other files.
"""

import faulthandler
import os
import sys
import tempfile
import time
from threading import Event, Thread

from rayox_platform.storage.folders import Folder

STACKS = "stacks"  # folder of a run's files
SHARE = 0.9  # of the time-out: before the others give up and this process is ended with them


class Watchdog:
    """A context manager; beat it at every step."""

    def __init__(self, files: Folder, rank: int, timeout_seconds: float) -> None:
        self._files, self._name = files, f"{STACKS}/rank-{rank}.txt"
        self._rank = rank
        self._patience = SHARE * timeout_seconds
        self._beat = time.monotonic()
        self._over = Event()
        self._thread = Thread(target=self._watch, name="rayox-watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def beat(self) -> None:
        self._beat = time.monotonic()

    def _watch(self) -> None:
        told = None  # the beat after which it was quiet: a long evaluation is told once, and a later hang as well
        while not self._over.wait(self._patience / 20):
            if self._beat != told and time.monotonic() - self._beat > self._patience:
                told = self._beat
                self._write()

    def _write(self) -> None:
        with tempfile.TemporaryFile("w+") as file:
            file.write(
                f"rank {self._rank}, process {os.getpid()} on {os.uname().nodename}: no step for "
                f"{self._patience:.0f} s at {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
            )
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            stacks = file.read() + "\n"
        try:
            earlier = self._files.read(self._name) if self._files.has(self._name) else b""
            self._files.write(self._name, earlier + stacks.encode())
        except OSError as error:
            print(f"{self._files.path(self._name)} cannot be written ({error}):\n{stacks}", file=sys.stderr)
