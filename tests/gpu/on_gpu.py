"""What `make gpu` does: all that wants a CUDA device, in at most eight minutes, with one table at the end.

Every part is a process of its own with a limit: one that fails or hangs is a row that says so, and the others still
run. `--device cpu` runs each part's twin, small. Needs the four packages' folders and what they import; parts whose
packages are missing (Ray, MLflow) fail alone. Real photos are looked for in ../shared/data, shared/data and
$RAYOX_SHARED/data; without them the embedded data set is trained on.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEAST_SECONDS = 10.0  # left of the time: with less no part is begun
# In order of worth, with the most seconds that each may take.
LIMITS = {
    "machine": 40,
    "fine-tune-fp16": 100,
    "tests": 90,
    "step-fp16": 60,
    "two-nccl": 60,
    "fine-tune-bf16": 80,
    "fine-tune-fp32": 80,
    "ray-16-cpus": 90,
    "ray-4-cpus": 80,
    "ray-8-cpus": 80,
    "step-bf16": 40,
    "step-fp32": 40,
    "two-gloo": 60,
}
OF_A_BUSY_CPU, ITS_MINUTES = 900, 45.0  # where nobody waits for the device
ON_CPU = ("machine", "tests", "fine-tune-fp16", "step-fp16", "two-gloo", "ray-2-cpus")


@dataclass
class Part:
    """What became of a part."""

    name: str
    seconds: float = 0.0
    rows: list[tuple[str, str]] = field(default_factory=list)
    failed: bool = False


def run_part(name: str, device: str, limit: float, folder: Path, command: tuple[str, ...] = ()) -> Part:
    """Run a part for at most so many seconds; whatever it does, there is a row about it, and no process is left."""
    out, log = folder / f"{name}.json", folder / f"{name}.txt"
    command = command or (sys.executable, str(HERE / "parts.py"), name, device, str(out))
    began = time.monotonic()
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit)
            part = Part(name, time.monotonic() - began)
        finally:
            end(process)
    if out.is_file():
        part.rows = [(what, result) for what, result in json.loads(out.read_text())]
    elif part.seconds >= limit:
        part.failed, part.rows = True, [(name, f"not done after {limit:.0f} s: {last_line(log)}")]
    else:
        part.failed, part.rows = True, [(name, f"failed: {last_line(log)}")]
    return part


def end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started and that has not left its process group."""
    for number, patience in ((signal.SIGINT, 10.0), (signal.SIGKILL, None)):  # asked first: Ray takes its own with it
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def last_line(log: Path) -> str:
    """The last one that names an error, or the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Expired)\b", line)]
    return (errors or lines or ["it said nothing"])[-1][:300]


def run_all(names: tuple[str, ...], device: str, seconds: float, folder: Path) -> list[Part]:
    """One after the other until the time is over; the rows are printed as they come."""
    over = time.monotonic() + seconds
    parts = []
    for name in names:
        left = over - time.monotonic()
        if left < LEAST_SECONDS:
            part = Part(name, rows=[(name, "not run: the time was over")], failed=True)
        else:
            limit = LIMITS.get(name, 120) if device == "cuda" else OF_A_BUSY_CPU
            part = run_part(name, device, min(left, limit), folder)
        parts.append(part)
        for what, result in part.rows:
            print(f"{part.seconds:5.0f} s  {what}: {result}", flush=True)
    return parts


def table(parts: list[Part]) -> str:
    lines = ["| what | result | seconds |", "|---|---|---|"]
    for part in parts:
        lines += [f"| {what} | {result.replace('|', '/')} | {part.seconds:.0f} |" for what, result in part.rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, help=f"8 with a GPU, {ITS_MINUTES:.0f} without")
    parser.add_argument("--out", type=Path, help="folder for the table and what each part said")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(LIMITS)}")
    given = parser.parse_args()
    names = tuple(given.parts) or (ON_CPU if given.device == "cpu" else tuple(LIMITS))
    folder = (given.out or Path(tempfile.mkdtemp(prefix="rayox-gpu-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    minutes = given.minutes or (8.0 if given.device == "cuda" else ITS_MINUTES)
    parts = run_all(names, given.device, 60 * minutes, folder)
    print(f"\n{table(parts)}\n\nwhat each part said is in {folder}")
    (folder / "table.md").write_text(table(parts) + "\n")
    return 1 if any(part.failed for part in parts) else 0


if __name__ == "__main__":
    sys.exit(main())
