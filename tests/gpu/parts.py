"""The parts of `make gpu`, each a function of a device: what runs on CUDA there runs on a CPU, shorter, in its twin.

A part returns rows of the table: (what, result). It runs in a process of its own: python parts.py NAME DEVICE FOLDER.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOTS = [ROOT / name for name in ("jobs", "platform", "model", "cluster")]
ROOTS += [ROOT / "tests" / name for name in ("bench", "gpu", "model", "ray")]
Rows = list[tuple[str, str]]


def on_cpu(device: str) -> bool:
    return device == "cpu"


def machine(device: str, folder: Path) -> Rows:
    import torch

    rows = [("torch", torch.__version__), ("CPU cores", str(os.cpu_count()))]
    if on_cpu(device):
        return [*rows, ("device", f"CPU, {torch.backends.cpu.get_cpu_capability()}")]
    free, total = torch.cuda.mem_get_info()
    version = ".".join(map(str, torch.cuda.nccl.version()))
    return [
        *rows,
        ("device", f"{torch.cuda.get_device_name()}, {_gib(total)} GiB, {_gib(free)} free"),
        ("CUDA, NCCL", f"{torch.version.cuda}, {version}"),
    ]


def tests(device: str, folder: Path) -> Rows:
    """The tests in this folder, of one device."""
    chosen = "not gpu" if on_cpu(device) else "gpu"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", chosen, "tests/gpu/test_gpu.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-300:]]
    if done.returncode:
        raise RuntimeError(f"{last[0]}\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return [("tests/gpu", last[0])]


def fine_tune(device: str, folder: Path, precision: str) -> Rows:
    """One process, its samples made by threads; no Ray."""
    from modes import Mode
    from modes import fine_tune as run

    data, text = data_settings()
    shorter = ("image_size=96", "train.epochs=4") if on_cpu(device) else ()
    steps = 6 if on_cpu(device) else None
    settings = (*data, *shorter, f"train.precision={precision}")
    found = run(Mode(settings, device=device, recipe=recipe(), steps=steps), folder / precision)
    memory = f", {_gib(found.peak_bytes)} GiB allocated" if found.peak_bytes else ""
    if found.non_finite:
        raise RuntimeError(f"not finite: {', '.join(found.non_finite[:5])}")
    return [
        (
            f"{text}, {precision}",
            f"AP {found.ap:.3f}, AP50 {found.ap50:.3f}, {found.images_per_second:.0f} images/s in steps, {found.steps} "
            f"steps in {found.seconds:.0f} s, {found.skipped} skipped{memory}",
        )
    ]


def two_processes(device: str, folder: Path, backend: str) -> Rows:
    """Two workers of one device, which NCCL refuses unless it is told; older ones always do."""
    os.environ |= {"NCCL_MULTI_RANK_GPU_ENABLE": "1", "NCCL_DEBUG": "WARN"}
    from modes import Mode
    from modes import fine_tune as run

    data, _ = data_settings()
    settings = (*data, f"image_size={96 if on_cpu(device) else 320}", "train.epochs=4", "train.precision=fp16")
    mode = Mode(settings, workers=2, device=device, recipe=recipe(), backend=backend, steps=4 if on_cpu(device) else 40)
    try:
        found = run(mode, folder / backend, seconds=280 if on_cpu(device) else 50)
    except RuntimeError as error:
        if "Duplicate GPU" not in str(error):
            raise
        return [(f"two processes, {backend}", "refused: this NCCL takes one process a device (Duplicate GPU detected)")]
    return [
        (f"two processes, {backend}", f"{found.images_per_second:.0f} images/s, equal weights {found.weights}"),
    ]


def step_parts(device: str, folder: Path, precision: str) -> Rows:
    import torch
    from step_parts import parts_of_step

    cases = [("nano", 64, 2)] if on_cpu(device) else [("nano", 416, 8), ("s", 640, 16)]
    rows = []
    for size, side, batch in cases:
        spent = parts_of_step(size, side, batch, precision, torch.device(device), 4 if on_cpu(device) else 20)
        told = ", ".join(f"{part} {milliseconds:.1f}" for part, milliseconds in spent.items())
        rows.append((f"step of {size}, {side} px, batch {batch}, {precision}, ms", told))
    return rows


def on_ray(device: str, folder: Path, cpus: int) -> Rows:
    """As a user trains, on a Ray of so many CPUs: with Ray Data, Ray Train, MLflow."""
    from toy_runs import train

    from rayox.config import RECIPES
    from rayox_cluster.local import ray_session
    from rayox_platform.config import load_config
    from rayox_platform.ray_internals.first_call import ray_imported

    data, text = data_settings()
    shorter = ("image_size=96", "train.epochs=4") if on_cpu(device) else ("train.epochs=6",)
    os.environ["RAYOX_STATE"] = str(folder / f"state-{cpus}")
    wanted = [*data, *shorter, f"storage={folder}", f"name=cpus-{cpus}", "train.spares=false"]
    config = load_config(recipe(), wanted, packaged=RECIPES, environ={}).config
    environment = {"OMP_NUM_THREADS": "1"}
    with (
        ray_session(None, num_cpus=cpus, worker_environment=environment, local_environment=ray_imported()),
        device_memory(device) as used,
    ):
        found = train(config, lambda event: None)
    memory = f", {max(used):.1f} GiB of the device used" if used else ""
    return [
        (
            f"{text} on Ray, {cpus} CPUs",
            f"AP {found.metrics['AP'] or 0:.3f}, {found.images_per_second:.0f} images/s, "
            f"{found.data_wait_fraction:.0%} waiting for data{memory}",
        )
    ]


@contextmanager
def device_memory(device: str) -> Iterator[list[float]]:
    """GiB in use by everybody, looked at twice a second; nothing where nvidia-smi does not answer."""
    used: list[float] = []
    over = threading.Event()
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def look() -> None:
        while not over.wait(0.5):
            try:
                said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
                used.append(float(said.split()[0]) / 1024)
            except (OSError, subprocess.SubprocessError, ValueError, IndexError):
                return

    thread = threading.Thread(target=look, daemon=True)
    if not on_cpu(device):
        thread.start()
    try:
        yield used
    finally:
        over.set()


def data_settings() -> tuple[tuple[str, ...], str]:
    """Real photos where they are at hand, else the embedded data set; and what that is called."""
    shared = shared_data()
    if shared is None:
        return ("train.epochs=4", "train.closing_epochs=1"), "shapes"
    from test_modes import blood_cells

    return blood_cells(shared), "fine-tune of blood cells"


def recipe() -> str:
    return "finetune" if shared_data() else "shapes"


def shared_data() -> Path | None:
    places = [Path(os.environ.get("RAYOX_SHARED", "")) / "data", ROOT / "shared/data", ROOT.parent / "shared/data"]
    return next((place for place in places if (place / "rbc_wbc").is_dir()), None)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}"


PRECISIONS = ("fp16", "bf16", "fp32")
PARTS: dict[str, Callable[[str, Path], Rows]] = {
    "machine": machine,
    "tests": tests,
    **{f"fine-tune-{precision}": partial(fine_tune, precision=precision) for precision in PRECISIONS},
    **{f"step-{precision}": partial(step_parts, precision=precision) for precision in PRECISIONS},
    **{f"two-{backend}": partial(two_processes, backend=backend) for backend in ("nccl", "gloo")},
    **{f"ray-{cpus}-cpus": partial(on_ray, cpus=cpus) for cpus in (2, 4, 8, 16)},
}


def main(name: str, device: str, out: Path) -> None:
    for root in ROOTS:  # for this process and those it starts: nothing need be installed of rayox itself
        sys.path.insert(0, str(root))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*map(str, ROOTS), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="rayox-gpu-", ignore_cleanup_errors=True) as folder:
        rows = PARTS[name](device, Path(folder))
    out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
