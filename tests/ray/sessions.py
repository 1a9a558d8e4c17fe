"""Processes that a command has started, also those that it has left behind: all of a session of their own."""

import time
from pathlib import Path

from patience import patient


def processes_of(session: int) -> list[int]:
    """Ids of the processes of a session, which has that of the one that began it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                found.append(int(entry.name))
    return found


def wait_until_gone(processes: list[int], seconds: float = 20) -> None:
    end = time.monotonic() + patient(seconds)
    while left := [pid for pid in processes if alive(pid)]:
        names = [Path(f"/proc/{pid}/cmdline").read_text().strip("\0").replace("\0", " ") for pid in left if alive(pid)]
        assert time.monotonic() < end, f"left behind: {names}"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
