"""A spare process is there before it is needed, has imported, and is taken next."""

import os
import sys
import time

import pytest
import ray

from rayox_platform.ray_internals.prestart import keep_spare_worker, worker_environment

pytestmark = pytest.mark.ray
READY_SECONDS = 60.0


class Worker:
    """Stands for a training worker: an actor with the environment of one."""

    def keep_spare(self) -> None:
        keep_spare_worker()

    def what_is_there(self) -> tuple[int, bool]:
        return os.getpid(), "torch._dynamo" in sys.modules


def idle_processes() -> set[int]:
    """Ids of Ray's idle processes here that have imported everything: such a process has the memory of torch."""
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
    from patience import (
        patient,
    )  # not above: Ray's processes import this file, and tests' folders are not on their path

    create = ray.remote(num_cpus=0, runtime_env={"env_vars": worker_environment()})(Worker).remote
    first = create()
    ray.get(first.keep_spare.remote())
    began, workers = time.monotonic(), []
    while True:  # on a busy machine a spare may be there and still import: Ray then starts another process
        there = idle_processes()
        workers.append(create())
        pid, imported = ray.get(workers[-1].what_is_there.remote())
        if pid in there:
            break
        assert time.monotonic() - began < patient(READY_SECONDS), "no spare process was taken"
        time.sleep(1.0)
    assert imported
