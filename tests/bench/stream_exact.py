"""A Ray Train run that trains nothing: its workers write down a digest of every sample they are given."""

import hashlib
import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train import FailureConfig, RunConfig, ScalingConfig

from rayox_model.augment.augment_settings import Augment
from rayox_model.core.collate import unpack
from rayox_model.core.plan import StreamPlan
from rayox_model.core.samples import LabelledImages
from rayox_model.core.structures import Batch
from rayox_platform.stream.batches import rank_batches
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import LaneSplit, stream_dataset
from rayox_platform.stream.lane_assignment import deal

Digests = Mapping[tuple[int, int], str]  # of (step, lane)


def digests(batch: Batch, num_lanes: int) -> Iterator[str]:
    """The digest of each lane's rows in a batch: pixels, boxes, labels and the epoch."""
    rows = len(batch.images) // num_lanes
    for start in range(0, len(batch.images), rows):
        chosen = (batch.targets.image_index >= start) & (batch.targets.image_index < start + rows)
        digest = hashlib.sha256(batch.images[start : start + rows].numpy().tobytes())
        digest.update(batch.targets.boxes[chosen].numpy().tobytes())
        digest.update(batch.targets.labels[chosen].numpy().tobytes())
        digest.update(str(batch.epoch).encode())
        yield digest.hexdigest()[:12]


def expected(images: LabelledImages, plan: StreamPlan, size: tuple[int, int]) -> Digests:
    """The same without Ray: block after block in this process."""
    found = {}
    blocks = SampleBlocks(None, plan, Augment(), size)  # type: ignore[arg-type]
    rows = plan.batch_size // plan.lanes
    for window in range(plan.num_windows):
        for lane in range(plan.lanes):
            block = blocks.samples(images, window, lane)
            for place, step in enumerate(plan.steps(window)):
                part = {name: column[place * rows : (place + 1) * rows] for name, column in block.items()}
                (found[step, lane],) = digests(unpack(part, int(part["epoch"][0])), 1)
    return found


def observed(
    folder: Path,
    images: LabelledImages,
    plan: StreamPlan,
    size: tuple[int, int],
    world_size: int,
    kill_at: tuple[int, ...] = (),
) -> Digests:
    """What the workers of a Ray Train run got; at each step of kill_at one of them ends itself by SIGKILL, once.

    A sample that was given twice, before and after a restart, must have been the same.
    """
    folder.mkdir()
    reference = ray.put(images)

    def stream() -> ray.data.Dataset:  # from the first step that not every rank has
        done = [_steps_done(folder / f"rank-{rank}.jsonl", plan.start_step) for rank in range(world_size)]
        (folder / "start").write_text(str(min(done)))
        return stream_dataset(SampleBlocks(reference, replace(plan, start_step=min(done)), Augment(), size))

    trainer = ray.train.torch.TorchTrainer(
        _write_digests,
        train_loop_config={"folder": folder, "plan": plan, "kill_at": kill_at},
        scaling_config=ScalingConfig(num_workers=world_size, resources_per_worker={"CPU": 0.2}),
        run_config=RunConfig(
            name="exact", storage_path=str(folder), failure_config=FailureConfig(max_failures=len(kill_at))
        ),
        datasets={"train": stream},
        dataset_config=LaneSplit(),
    )
    trainer.fit()
    found = defaultdict(set)
    for path in folder.glob("rank-*.jsonl"):
        for line in path.read_text().splitlines():
            step, lane, digest = json.loads(line)
            found[step, lane].add(digest)
    assert all(len(values) == 1 for values in found.values()), "a sample differs after a restart"
    assert len(list(folder.glob("killed-*"))) == len(kill_at)
    return {place: value for place, (value,) in found.items()}


def _steps_done(path: Path, start_step: int) -> int:
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])[0] + 1 if lines else start_step


def _write_digests(setup: dict[str, Any]) -> None:
    folder, context = setup["folder"], ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    plan = replace(setup["plan"], start_step=int((folder / "start").read_text()))
    batches = rank_batches(ray.train.get_dataset_shard("train"), plan, rank, world_size)
    with (folder / f"rank-{rank}.jsonl").open("a") as file:
        for window, lanes in enumerate(deal(plan, world_size)):
            for step in plan.steps(window):
                mine = lanes[rank]
                lines = [[step, lane, one] for lane, one in zip(mine, digests(next(batches), len(mine)), strict=True)]
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                file.flush()
                if step in setup["kill_at"] and rank == step % world_size:
                    _die_once(folder / f"killed-{step}")
    assert next(batches, None) is None


def _die_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
