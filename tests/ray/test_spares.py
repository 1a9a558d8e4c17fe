"""Ray's processes: a spare is there before it is needed, has imported, and is taken next; needless ones never start."""

import os
import sys
import time
from contextlib import suppress

import psutil
import pytest
import ray

from rayox_platform.ray_internals.prestart import ENVIRONMENT, keep_spare_worker

pytestmark = pytest.mark.ray
READY_SECONDS = 60.0


class Worker:
    """Stands for a training worker: an actor with the environment of one."""

    def keep_spare(self) -> None:
        keep_spare_worker()

    def what_is_there(self) -> tuple[int, bool]:
        return os.getpid(), "torch._dynamo" in sys.modules


def idle_processes() -> set[int]:
    """Of Ray here, with everything imported: such a process has the memory of torch."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline") as command, open(f"/proc/{entry}/statm") as memory:
                megabytes = int(memory.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
                if command.read().startswith("ray::IDLE") and megabytes > 400:
                    found.add(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_the_next_worker_is_a_process_that_was_there(cluster):
    create = ray.remote(num_cpus=0, runtime_env={"env_vars": ENVIRONMENT})(Worker).remote
    first = create()
    before = idle_processes()
    ray.get(first.keep_spare.remote())
    end = time.monotonic() + READY_SECONDS
    while not (spares := idle_processes() - before):
        assert time.monotonic() < end, "no spare process"
        time.sleep(0.5)
    pid, imported = ray.get(create().what_is_there.remote())
    assert pid in spares | before
    assert imported


def test_a_local_cluster_has_no_process_that_nobody_asks(cluster):
    commands = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended meanwhile
            commands.append(" ".join(process.cmdline()))
    assert [one for one in commands if "gcs_server" in one]
    assert not [one for one in commands if "monitor.py" in one or "dashboard.py" in one]
