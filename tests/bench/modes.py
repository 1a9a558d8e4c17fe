"""Fine-tune in one mode of training and measure it: what the matrix of modes and `make gpu` have in common.

No Ray: one process a worker, over gloo or nccl, each makes its lanes' samples itself. What a worker of rayox does with
them is the engine's own: network, settings, batches, checkpoints and evaluation are those of `rayox train finetune`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from half_units import emulate_missing
from torch.nn.parallel import DistributedDataParallel

from rayox.config import RECIPES
from rayox_model.augment.block import block_samples
from rayox_model.checkpoint.snapshot import Facts, restore, take_snapshot, write_checkpoint
from rayox_model.core.collate import unpack
from rayox_model.core.pack import pack
from rayox_model.core.plan import StreamPlan
from rayox_model.core.structures import Batch
from rayox_model.detect.detector import TorchDetector
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.train.engine import StepReport, TrainState, averaged_model, new_state, train
from rayox_model.train.engine_settings import EngineSettings
from rayox_platform.config import load_config
from rayox_platform.config.tree import Config
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.evaluation import evaluate_detector
from rayox_platform.models.open_model import new_model
from rayox_platform.train.from_config import engine_settings, evaluation_settings
from rayox_platform.train.stream_blocks import stream_plan

TIMEOUT = timedelta(minutes=10)
RESULT = "outcome.json"


@dataclass(frozen=True)
class Mode:
    """One way to train: settings beyond the recipe's, the number of workers, and whether it is resumed half-way."""

    settings: tuple[str, ...]
    workers: int = 1
    resume: bool = False
    device: str = "cpu"
    recipe: str = "finetune"
    backend: str = "gloo"
    steps: int | None = None  # stop after so many


@dataclass
class Outcome:
    """What a mode came to."""

    ap: float
    ap50: float
    loss: float  # mean of the last epoch's steps
    steps: int
    skipped: int  # by GradScaler
    scale: float  # at the end; 1 without a GradScaler
    images_per_second: float  # of the steps, samples being there
    seconds: float
    peak_bytes: int = 0  # of the device's memory, as allocated by torch
    weights: str = ""  # digest; the same on all workers
    non_finite: list[str] = field(default_factory=list)


def fine_tune(mode: Mode, folder: Path, seconds: float = 1800) -> Outcome:
    """Run a mode in processes of its own, which end with it; its result. Raises RuntimeError with what they said."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mode.json").write_text(json.dumps(asdict(mode)))
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, __file__, str(folder)]
    logs = [folder / f"said-{rank}.txt" for rank in range(mode.workers)]
    with ExitStack() as files:
        running = []
        for rank, log in enumerate(logs):
            said = files.enter_context(log.open("w"))
            running.append(subprocess.Popen([*command, str(rank)], env=environment, stdout=said, stderr=said))
        try:
            codes: list[int | str] = [process.wait(seconds) for process in running]
        except subprocess.TimeoutExpired:
            codes = [f"no end after {seconds:.0f} s"]
        finally:
            for process in running:
                process.kill()
                process.wait()
    if any(codes):
        texts = "\n".join(log.read_text(errors="replace")[-3000:] for log in logs)
        raise RuntimeError(f"{mode.workers} workers ended with {codes} in {mode.settings}:\n{texts}")
    outcomes = [Outcome(**json.loads((folder / f"{rank}-{RESULT}").read_text())) for rank in range(mode.workers)]
    if len({outcome.weights for outcome in outcomes}) > 1:
        raise RuntimeError(f"{mode}: the workers' weights differ: {[outcome.weights for outcome in outcomes]}")
    return outcomes[0]


def run(mode: Mode, folder: Path, rank: int) -> Outcome:
    """One worker's part of a mode."""
    if mode.device == "cpu":
        emulate_missing()
    device = torch.device(mode.device, 0) if mode.device == "cuda" else torch.device(mode.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    loaded = load_config(mode.recipe, [*mode.settings, f"train.workers={mode.workers}"], packaged=RECIPES, environ={})
    config = loaded.config
    load = partial(resolve_split, state=folder.parent / "state")
    train_images, val_images = (
        load(str(part.annotations), part.images)[1] for part in (config.data.train, config.data.val)
    )
    plan = replace(stream_plan(config, len(train_images)), window_steps=1)
    engine = engine_settings(config, plan, device.type)
    network, _ = new_model(config.model.size, train_images.dataset.classes, config.model.init, config.train.seed)
    state = new_state(network.to(device), engine, device)
    batches = partial(rank_batches, train_images, plan, config, rank, mode.workers, device)
    began, reports, seconds = time.perf_counter(), list[Numbers](), 0.0
    last = mode.steps or plan.num_steps
    halves = (range(last // 2), range(last // 2, last)) if mode.resume else (range(last),)
    for half in halves:
        if half.start:
            state = resumed(state, config, engine, folder, rank, train_images.dataset.classes, device)
        made = list(batches(half))  # before the first step: threads that make samples would slow it
        seconds += take_steps(state, made, engine, device, mode.workers, reports.append)
    outcome = measured(reports, plan, state, seconds)
    outcome.seconds = time.perf_counter() - began
    if device.type == "cuda":
        outcome.peak_bytes = torch.cuda.max_memory_allocated()
    if rank == 0:
        detector = TorchDetector(
            averaged_model(state), val_images.dataset.classes, config.image_size, device, engine.precision
        )
        scores = evaluate_detector(detector, val_images, evaluation_settings(config)).scores.metrics
        outcome.ap, outcome.ap50 = scores.AP, scores.AP50
    return outcome


@dataclass(frozen=True)
class Numbers:
    """A step's numbers, once nobody waits for them any more."""

    loss: float
    skipped: bool


def take_steps(
    state: TrainState,
    batches: list[Batch],
    engine: EngineSettings,
    device: torch.device,
    workers: int,
    tell: Callable[[Numbers], None],
) -> float:
    """Train on the batches, there being no wait for them; returns the seconds that took."""
    replica = None
    if workers > 1:
        ids = [device] if device.type == "cuda" else None
        replica = DistributedDataParallel(
            state.model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )
    began = time.perf_counter()
    reports: list[StepReport] = list(train(state, batches, engine, device, replica))  # which waits for the last step
    seconds = time.perf_counter() - began
    for report in reports:
        tell(Numbers(float(report.losses.total), bool(report.skipped)))
    return seconds


def rank_batches(
    images: CocoImages, plan: StreamPlan, config: Config, rank: int, workers: int, device: torch.device, steps: range
) -> Iterator[Batch]:
    """A worker's share of the steps: the rows of its lanes, made ahead by threads."""
    lanes = range(rank, plan.lanes, workers)
    size, augment = config.image_size, config.augment

    def batch(step: int) -> Batch:
        window = plan.window_of(step)
        samples = [one for lane in lanes for one in block_samples(images, plan, window, lane, augment, size)]
        columns = pack(samples, len(samples), size, augment.max_boxes)._asdict()
        return unpack(columns, step // plan.steps_per_epoch, pinned=device.type == "cuda")

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // workers)) as pool:
        yield from pool.map(batch, steps)


def resumed(
    state: TrainState,
    config: Config,
    engine: EngineSettings,
    folder: Path,
    rank: int,
    classes: tuple[str, ...],
    device: torch.device,
) -> TrainState:
    """The state as a new process has it after a stop: rank 0's checkpoint, loaded by all."""
    if rank == 0:
        facts = Facts(
            model=YOLOXSpec(size=config.model.size),
            classes=classes,
            image_size=config.image_size,
            step=state.step,
            epoch=0,
            config={},
            metrics={},
        )
        write_checkpoint(folder / "checkpoints", take_snapshot(state, facts))
    if dist.is_initialized():
        dist.barrier()
    network, _ = new_model(config.model.size, classes, None, seed=99)
    fresh = new_state(network.to(device), engine, device)
    restore(folder / "checkpoints" / f"step-{state.step:08d}", fresh)
    return fresh


def measured(reports: list[Numbers], plan: StreamPlan, state: TrainState, seconds: float) -> Outcome:
    from rayox_platform.train.distributed import check_equal_weights

    tensors = {f"raw {name}": value for name, value in state.model.state_dict().items()}
    tensors |= {f"average {name}": value for name, value in state.ema.module.state_dict().items()}
    for number, moments in enumerate(state.optimizer.state.values()):
        tensors |= {f"optimiser {number} {name}": value for name, value in moments.items()}
    last = reports[-plan.steps_per_epoch :]
    return Outcome(
        ap=0.0,
        ap50=0.0,
        loss=sum(report.loss for report in last) / len(last),
        steps=len(reports),
        skipped=sum(report.skipped for report in reports),
        scale=state.scaler.get_scale(),
        images_per_second=len(reports) * plan.batch_size / seconds,
        seconds=seconds,
        weights=check_equal_weights(state.model, state.step),
        non_finite=[name for name, value in tensors.items() if not bool(torch.isfinite(value).all())],
    )


def main(folder: Path, rank: int) -> None:
    given = json.loads((folder / "mode.json").read_text())
    mode = Mode(**given | {"settings": tuple(given["settings"])})
    if mode.workers > 1:
        meeting = f"file://{folder}/meeting"
        dist.init_process_group(mode.backend, meeting, rank=rank, world_size=mode.workers, timeout=TIMEOUT)
    outcome = run(mode, folder, rank)
    (folder / f"{rank}-{RESULT}").write_text(json.dumps(asdict(outcome)))
    if mode.workers > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
