"""What this machine has, shared out over the nodes of a cluster on it: each would take the whole of it for its own."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil  # type: ignore[import-untyped]

VISIBLE = "CUDA_VISIBLE_DEVICES"
CGROUP = Path("/sys/fs/cgroup")  # of a container with a limit of its own
USABLE = 0.8  # of the memory that is free; the rest is for everything but the nodes
LEAST_BYTES = 256 << 20


def gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return tuple(one.strip() for one in visible.split(",") if one.strip() not in ("", "-1"))
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    asked = [program, "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def share_of_gpus(found: tuple[str, ...], nodes: int, number: int) -> tuple[str, ...]:
    """Those of one node, counted from 0; where they do not come out even, the first nodes have one more."""
    each, more = divmod(len(found), nodes)
    first = number * each + min(number, more)
    return found[first : first + each + (number < more)] if number < nodes else ()


def share_of_memory(nodes: int, store_bytes: int) -> int:
    """Bytes for the tasks of each node, beside its object store."""
    return max(int(free_bytes() * USABLE) // nodes - store_bytes, LEAST_BYTES)


def free_bytes(cgroup: Path = CGROUP) -> int:
    """Of this machine, or what is left of the container's limit if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (int((cgroup / f"memory.{part}").read_text()) for part in ("max", "current"))
    except (OSError, ValueError):  # none, or "max"
        return free
    return max(min(free, limit - used), 0)
