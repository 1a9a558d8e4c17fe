"""What only a GPU can show, and each test's twin on the CPU: the same function, for a machine without one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_engine import ENGINE

from rayox_model.core.collate import unpack
from rayox_model.core.pack import pack
from rayox_model.core.samples import Sample
from rayox_model.nets.batchnorm import synchronise
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state, train
from rayox_model.train.optimizer import make_optimizer, set_learning_rate
from rayox_model.train.schedule import Schedule

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
on_both = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CUDA])])


def columns():
    rng = np.random.default_rng(0)
    samples = []
    for number in range(4):
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        image[8:32, 8:32] = 200
        box = np.array([[8, 8, 32, 32]], np.float32)
        samples.append(Sample(image, box, np.array([number % 2], np.int64)))
    return pack(samples, 4, (64, 64), 120)._asdict()


@on_both
def test_pixels_are_pinned_for_a_gpu_and_arrive_as_they_are(device):
    batch = unpack(columns(), epoch=0, pinned=device == "cuda")
    assert batch.images.is_pinned() == (device == "cuda")
    assert torch.equal(batch.images.to(device, non_blocking=True).cpu(), unpack(columns(), epoch=0).images)


@pytest.mark.slow
@on_both
def test_synchronised_batch_norm_keeps_keys_and_numbers(device):
    """Beside tests/model/test_workers.py: one process, whose share is the whole batch."""
    torch.manual_seed(0)
    plain, converted = YOLOX("nano", 2).to(device).train(), YOLOX("nano", 2).to(device).train()
    converted.load_state_dict(plain.state_dict())
    synchronise(converted, device)
    changed = [type(module) for module in converted.modules() if type(module) not in map(type, plain.modules())]
    assert changed
    assert (torch.nn.SyncBatchNorm in changed) == (device == "cuda")
    assert list(converted.state_dict()) == list(plain.state_dict())
    images = torch.rand(4, 3, 64, 64, device=device) * 255
    for one, other in zip(plain(images), converted(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(converted.state_dict()[name], value, rtol=1e-4, atol=1e-4, msg=name)


@on_both
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_first_step_that_is_skipped_leaves_no_trace(device, optimizer):
    """With memory that torch allocates filled with NaN, as a step may otherwise find zeros by luck."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        model = torch.nn.Linear(64, 64).to(device)
        start = model.weight.detach().clone()
        steps, scaler = make_optimizer(model, optimizer, 0.0, 0.9), torch.amp.GradScaler(device, init_scale=4.0)
        set_learning_rate(steps, 0.5)
        scaler.scale(torch.ones((), device=device))
        for value in (float("inf"), 2.0):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, value)
            scaler.step(steps)
            scaler.update()
    finally:
        torch.use_deterministic_algorithms(before)
    assert scaler.get_scale() == 2.0
    moved = 0.5 * (1.9 if optimizer == "sgd" else 1.0)  # Nesterov: g + 0.9 g; AdamW's first step is the sign of g
    torch.testing.assert_close(model.weight.detach(), start - moved)


@pytest.mark.slow
@on_both
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_batch_is_learnt_in_fp16(device, optimizer):
    steps = 80 if device == "cuda" else 24
    settings = replace(
        ENGINE,
        schedule=Schedule(peak=2e-3, floor_ratio=0.5, warmup_steps=2, flat_steps=0, num_steps=steps),
        optimizer=optimizer,
        weight_decay=5e-4,
        precision="fp16",
        seed=3,
    )
    torch.manual_seed(0)
    where = torch.device(device)
    state = new_state(YOLOX("nano", 2).to(where), settings, where)
    batch = unpack(columns(), epoch=0, pinned=device == "cuda")
    reports = list(train(state, [batch] * steps, settings, where))
    totals = [float(report.losses.total) for report in reports]
    assert bool(reports[0].skipped)
    assert not bool(reports[-1].skipped)
    assert sum(totals[-3:]) < (0.7 if device == "cuda" else 0.95) * sum(totals[:3])
