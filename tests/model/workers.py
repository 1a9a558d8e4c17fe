"""One worker of a few steps, run as a process of its own: python workers.py RANK WORLD_SIZE FOLDER.

With a world of 1 it is the process whose numbers the others have to give together; results go to FOLDER.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from toy_engine import ENGINE

from rayox_model.core.structures import Batch, Targets
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.nets.batchnorm import synchronise
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import NonFiniteError, TrainState, new_state, train
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.schedule import Schedule

CPU = torch.device("cpu")
IMAGES = 8
FIRST_SHARE = 5  # of the first of two workers: unequal
SETTINGS = replace(
    ENGINE,
    schedule=Schedule(peak=1e-3, floor_ratio=1.0, warmup_steps=0, flat_steps=0, num_steps=4),
    closing_epochs=1,
    seed=3,
    loss=LossWeights(divide_by="all_positives"),
    batch_norm="frozen",
)


def global_batch() -> Batch:
    """Eight images of noise with 0, 1, 2, 3, 0, 1, … bright squares: the shares have other numbers of boxes."""
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 60, (IMAGES, 64, 64, 3), generator=draw, dtype=torch.uint8)
    index = torch.arange(IMAGES).repeat_interleave(torch.arange(IMAGES) % 4)
    corners = torch.randint(0, 40, (len(index), 2), generator=draw)
    for image, (x, y) in zip(index.tolist(), corners.tolist(), strict=True):
        images[image, y : y + 24, x : x + 24] = 200
    return Batch(images, Targets(torch.cat((corners, corners + 24), 1).float(), index % 2, index), 0)


def share(batch: Batch, rank: int, world_size: int) -> Batch:
    if world_size == 1:
        return batch
    start, end = ((0, FIRST_SHARE), (FIRST_SHARE, IMAGES))[rank]
    images, (boxes, labels, index), epoch = batch
    keep = (index >= start) & (index < end)
    return Batch(images[start:end], Targets(boxes[keep], labels[keep], index[keep] - start), epoch)


@cache
def settled_weights() -> dict[str, torch.Tensor]:
    """Random weights whose batch-norm statistics are those of the batch, so that they can be frozen."""
    torch.manual_seed(0)
    model = YOLOX("nano", 2).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(global_batch().images.permute(0, 3, 1, 2).float())
    return model.state_dict()


def state_of(settings: EngineSettings, exact: bool = False) -> TrainState:
    """exact computes the network in fp64: through fifty layers of fp32 sums in another order differ by 3e-6."""
    model = YOLOX("nano", 2)
    model.load_state_dict(settled_weights())
    if exact:
        model.double().register_forward_pre_hook(lambda _, images: images[0].double())
    return new_state(model, settings, CPU)


def one_step(rank: int, world_size: int, **changes: object) -> dict[str, torch.Tensor]:
    settings = replace(SETTINGS, **changes)
    state = state_of(settings, exact=True)
    replica = DistributedDataParallel(state.model, broadcast_buffers=False) if world_size > 1 else None
    (report,) = train(state, [share(global_batch(), rank, world_size)], settings, CPU, replica)
    gradients = {name: p.grad.clone() for name, p in state.model.named_parameters() if p.grad is not None}
    statistics = {name: buffer.clone() for name, buffer in state.model.named_buffers()}
    total = report.losses.total / world_size
    if world_size > 1:
        dist.all_reduce(total)
    counts = {"positives": report.losses.num_positives, "boxes": report.losses.num_boxes}
    return gradients | statistics | counts | {"total": total, "norm": report.gradient_norm}


def one_norm(rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """A batch norm with weights of its own, far from mean 0, and what its loss sends back."""
    torch.manual_seed(0)
    features = (torch.randn(IMAGES, 6, 5, 7) * 3 + 20).to(memory_format=torch.channels_last)
    wanted = torch.randn(IMAGES, 6, 5, 7)
    holder = nn.Sequential(nn.BatchNorm2d(6, eps=1e-3, momentum=0.03))
    nn.init.uniform_(holder[0].weight)
    nn.init.normal_(holder[0].bias)
    keys = list(holder.state_dict())
    synchronise(holder, "cpu")
    assert list(holder.state_dict()) == keys
    part = slice(None) if world_size == 1 else (slice(0, FIRST_SHARE), slice(FIRST_SHARE, None))[rank]
    mine = features[part].clone().requires_grad_()
    out = holder(mine)
    ((out - wanted[part]) ** 3).sum().backward()
    summed = {name: p.grad for name, p in holder.named_parameters()}
    for gradient in summed.values():
        if world_size > 1:
            dist.all_reduce(gradient)
    return {"out": out.detach(), "inner": mine.grad, **summed, **dict(holder.named_buffers())}


def whole_network(rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """All batch norms of a network one after the other, in fp64, so that no rounding hides a mistake."""
    model = YOLOX("nano", 2)
    model.load_state_dict(settled_weights())
    model.double().train()
    synchronise(model, "cpu")
    images = share(global_batch(), rank, world_size).images.permute(0, 3, 1, 2).double()
    sum(out.square().sum() for out in model(images)).backward()
    summed = {name: p.grad for name, p in model.named_parameters()}
    for gradient in summed.values():
        if world_size > 1:
            dist.all_reduce(gradient)
    return summed | dict(model.named_buffers())


def poisoned_step(rank: int, world_size: int) -> dict[str, object]:
    """The last box has its sides swapped at the second of four steps: the logarithm in its L1 is not a number."""
    state = state_of(SETTINGS)
    replica = DistributedDataParallel(state.model, broadcast_buffers=False) if world_size > 1 else None
    good = share(global_batch(), rank, world_size)
    whole = global_batch()
    whole.targets.boxes[-1, [0, 2]] = whole.targets.boxes[-1, [2, 0]]
    weights: list[torch.Tensor] = []

    def batches() -> Iterator[Batch]:
        yield good
        weights.append(next(state.model.parameters()).detach().clone())
        yield share(whole, rank, world_size)
        yield good
        yield good

    try:
        for _ in train(state, batches(), SETTINGS, CPU, replica):
            pass
    except NonFiniteError as error:
        kept = torch.equal(weights[0], next(state.model.parameters()).detach())
        return {"step": error.report.step, "own": error.of_loss, "kept": kept, "message": error.message}
    return {}


def main(rank: int, world_size: int, folder: Path) -> None:
    if world_size > 1:
        address = f"file://{folder}/meeting"
        dist.init_process_group("gloo", address, rank=rank, world_size=world_size, timeout=timedelta(seconds=60))
    results = {
        "step": one_step(rank, world_size),
        "accumulated": one_step(rank, world_size, accumulate=3),
        "synchronised": one_step(rank, world_size, batch_norm="synchronised"),
        "frozen_part": one_step(rank, world_size, freeze="backbone"),
        "whole_network": whole_network(rank, world_size),
        "norm": one_norm(rank, world_size),
        "poisoned": poisoned_step(rank, world_size),
    }
    torch.save(results, folder / f"{rank}-of-{world_size}.pt")
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
