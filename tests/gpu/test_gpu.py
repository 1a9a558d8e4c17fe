"""What only a GPU can show: pinned pixels, and a training step in fp16 that learns."""

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
from rayox_model.train.schedule import Schedule

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def columns():
    rng = np.random.default_rng(0)
    samples = []
    for number in range(4):
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        image[8:32, 8:32] = 200
        box = np.array([[8, 8, 32, 32]], np.float32)
        samples.append(Sample(image, box, np.array([number % 2], np.int64)))
    return pack(samples, 4, (64, 64), 120)._asdict()


def test_pixels_are_pinned_and_arrive_as_they_are():
    batch = unpack(columns(), epoch=0, pinned=True)
    assert batch.images.is_pinned()
    assert torch.equal(batch.images.cuda(non_blocking=True).cpu(), unpack(columns(), epoch=0).images)


def test_synchronised_batch_norm_keeps_keys_and_numbers_on_a_gpu():
    """The twin of tests/model/test_workers.py: one process, whose share is the whole batch."""
    torch.manual_seed(0)
    plain, converted = YOLOX("nano", 2).cuda().train(), YOLOX("nano", 2).cuda().train()
    converted.load_state_dict(plain.state_dict())
    synchronise(converted, "cuda")
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
    assert list(converted.state_dict()) == list(plain.state_dict())
    images = torch.rand(4, 3, 64, 64, device="cuda") * 255
    for one, other in zip(plain(images), converted(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(converted.state_dict()[name], value, rtol=1e-4, atol=1e-4, msg=name)


def test_a_batch_is_learnt_in_fp16():
    device = torch.device("cuda")
    settings = replace(
        ENGINE,
        schedule=Schedule(peak=2e-3, floor_ratio=0.5, warmup_steps=2, flat_steps=0, num_steps=80),
        optimizer="adamw",
        weight_decay=5e-4,
        precision="fp16",
        seed=3,
    )
    torch.manual_seed(0)
    state = new_state(YOLOX("nano", 2).to(device), settings, device)
    batch = unpack(columns(), epoch=0, pinned=True)
    totals = [float(report.losses.total) for report in train(state, [batch] * 80, settings, device)]
    assert sum(totals[-3:]) < 0.7 * sum(totals[:3])
