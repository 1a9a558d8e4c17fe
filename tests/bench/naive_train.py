"""What somebody writes who follows Ray Train's own guide: DDP, a checkpoint an epoch, its defaults everywhere else.

The same network and losses as rayox's, on batches that cost nothing, so that only Ray Train itself is in the figures.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig

STEPS_PER_EPOCH = 10


def run(folder: Path, workers: int | tuple[int, int], cpus: float, num_steps: int) -> None:
    """Train; every worker appends a line to folder/steps.jsonl for each of its steps, rank 0 one at each start."""
    trainer = ray.train.torch.TorchTrainer(
        _loop,
        train_loop_config={"folder": folder, "num_steps": num_steps},
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": cpus}),
        run_config=RunConfig(name="naive", storage_path=str(folder), failure_config=FailureConfig(max_failures=3)),
    )
    trainer.fit()


def _loop(setup: dict[str, Any]) -> None:
    import os

    from rayox_model.nets.yolox import YOLOX

    torch.set_num_threads(1)
    rank = ray.train.get_context().get_world_rank()
    model = ray.train.torch.prepare_model(YOLOX("nano", 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    step = 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as path:
            saved = torch.load(Path(path) / "state.pt", weights_only=True)
        getattr(model, "module", model).load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    images = torch.rand(4, 3, 64, 64)
    file = (setup["folder"] / f"steps-{rank}.jsonl").open("a", buffering=1)
    file.write(json.dumps({"start": step, "time": time.time(), "pid": os.getpid()}) + "\n")
    while step < setup["num_steps"]:
        outputs = model(images)
        sum(part.float().square().mean() for part in outputs).backward()
        optimizer.step()
        optimizer.zero_grad()
        time.sleep(0.1)
        step += 1
        file.write(json.dumps({"step": step, "time": time.time()}) + "\n")
        if step % STEPS_PER_EPOCH == 0:
            with tempfile.TemporaryDirectory() as path:
                if rank == 0:
                    state = {"model": getattr(model, "module", model).state_dict(), "step": step}
                    torch.save(state | {"optimizer": optimizer.state_dict()}, Path(path) / "state.pt")
                ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(path) if rank == 0 else None)
