"""Where the time of a training step goes: each part waited for, then the same steps by the engine, without a wait."""

import time

import numpy as np
import torch
from rayox_step import settings_of
from step_case import step_case
from torch import Tensor

from rayox_model.core.structures import Batch, Targets
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import TrainState, new_state, predict, settle, sums_of, train
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.optimizer import clip_gradients, set_learning_rate

PARTS = ("ship and forward", "assign and loss", "backward", "optimiser", "average")


def parts_of_step(
    size: str, side: int, batch_size: int, precision: str, device: torch.device, steps: int
) -> dict[str, float]:
    """Milliseconds of each part, and of a whole step of the engine; the first steps, which build and tune, left out."""
    case = step_case(side, batch_size) | {"precision": np.array(precision)}
    settings = settings_of(case, compiled=False)
    torch.manual_seed(0)
    state = new_state(YOLOX(size, int(case["num_classes"])).to(device), settings, device)
    batch = batch_of(case, pinned=device.type == "cuda")
    list(train(state, [batch] * (steps // 2 + 2), settings, device))  # finds fp16's scale, too
    spent = dict.fromkeys(PARTS, 0.0)
    for _ in range(steps):
        timed_step(state, batch, settings, device, spent)
    wait(device)
    began = time.perf_counter()
    list(train(state, [batch] * steps, settings, device))
    wait(device)
    spent["whole step"] = time.perf_counter() - began
    return {part: 1000 * seconds / steps for part, seconds in spent.items()}


def batch_of(case: dict[str, np.ndarray], pinned: bool) -> Batch:
    images = torch.from_numpy(case["images"])
    targets = Targets(*(torch.from_numpy(case[name]) for name in ("boxes", "labels", "image_index")))
    return Batch(images.pin_memory() if pinned else images, targets, 0)


def timed_step(
    state: TrainState, batch: Batch, settings: EngineSettings, device: torch.device, spent: dict[str, float]
) -> None:
    """What `train` does in a step, with a stop after each part."""
    at = time.perf_counter()

    def done(part: str) -> None:
        nonlocal at
        wait(device)
        at, before = time.perf_counter(), at
        spent[part] += at - before

    state.model.train()
    set_learning_rate(state.optimizer, settings.schedule.at(state.step))
    state.optimizer.zero_grad(set_to_none=True)
    predicted = predict(state.model, batch, settings, state.step, device)
    done("ship and forward")
    sums = sums_of(*predicted, settings, batch.epoch)
    total: Tensor = state.scaler.scale(sums.total / sums.num_positives.clamp(min=1))
    done("assign and loss")
    total.backward()
    done("backward")
    state.scaler.unscale_(state.optimizer)
    clip_gradients(state.optimizer, None)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    done("optimiser")
    state.ema.update_parameters(state.model)
    done("average")
    state.step += 1
    settle(state)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
