"""The loop over a list of batches: it learns, it resumes to the last bit, it stops at a loss that is no number."""

import pytest
import torch

from rayox_model.assign.settings import SimOTA
from rayox_model.checkpoint import Facts, restore, save_checkpoint
from rayox_model.engine import EngineSettings, new_state, train
from rayox_model.errors import TrainingError
from rayox_model.losses import LossWeights
from rayox_model.schedule import Schedule
from rayox_model.structures import Batch, Targets
from rayox_model.yolox import YOLOX

CPU = torch.device("cpu")
CLASSES = ("a", "b")


def toy_settings(steps, precision="fp32", optimizer="adamw", closing_epochs=0, epochs=1, multi_scale=(0, 0)):
    return EngineSettings(
        schedule=Schedule(peak=2e-3, floor_ratio=0.5, warmup_steps=2, flat_steps=0, num_steps=steps),
        epochs=epochs,
        closing_epochs=closing_epochs,
        image_size=(64, 64),
        multi_scale=multi_scale,
        optimizer=optimizer,
        weight_decay=5e-4,
        momentum=0.9,
        ema_decay=0.9998,
        ema_ramp_steps=None,
        precision=precision,
        seed=3,
        assigner=SimOTA(),
        loss=LossWeights(),
    )


def toy_batch(seed=0, epoch=0, num_images=4):
    """Bright squares on noise; the last image is without boxes."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (num_images, 64, 64, 3), generator=draw, dtype=torch.uint8)
    corners = torch.randint(0, 30, (num_images - 1, 2), generator=draw)
    for image, (x, y) in enumerate(corners.tolist()):
        images[image, y : y + 24, x : x + 24] = 200
    boxes = torch.cat((corners, corners + 24), 1).float()
    labels = torch.arange(num_images - 1) % 2
    return Batch(images, Targets(boxes, labels, torch.arange(num_images - 1)), epoch)


def toy_state(settings, seed=0, layout=torch.contiguous_format):
    torch.manual_seed(seed)
    return new_state(YOLOX("nano", len(CLASSES)).to(memory_format=layout), settings, CPU)


def facts(step):
    return Facts(size="nano", classes=CLASSES, image_size=(64, 64), step=step, epoch=0, config={}, metrics={})


@pytest.mark.parametrize(
    ("precision", "optimizer", "steps"),
    [("fp32", "sgd", 80), ("fp32", "adamw", 80), ("bf16", "adamw", 40), ("fp16", "adamw", 40)],  # half is slow on a CPU
)
def test_one_batch_is_learnt_by_heart(precision, optimizer, steps):
    settings = toy_settings(steps, precision, optimizer)
    state = toy_state(settings)
    reports = list(train(state, [toy_batch()] * steps, settings, CPU))
    first, last = (sum(float(r.losses.total) for r in part) / 3 for part in (reports[:3], reports[-3:]))
    assert [r.step for r in reports] == list(range(steps))
    assert state.step == steps
    assert last < 0.7 * first
    assert state.scaler.is_enabled() == (precision == "fp16")
    assert all(p.dtype == torch.float32 for p in state.model.parameters())


def test_l1_is_part_of_the_loss_in_the_closing_epochs_alone():
    settings = toy_settings(2, closing_epochs=1, epochs=2)
    strong, closing = train(toy_state(settings), [toy_batch(epoch=0), toy_batch(epoch=1)], settings, CPU)
    assert float(strong.losses.l1) == 0
    assert float(closing.losses.l1) > 0


def test_a_batch_without_boxes_trains_objectness():
    empty = Batch(toy_batch().images, Targets(torch.zeros(0, 4), *[torch.zeros(0, dtype=torch.int64)] * 2), 0)
    settings = toy_settings(3)
    reports = list(train(toy_state(settings), [empty] * 3, settings, CPU))
    assert all(float(r.losses.iou) == 0 for r in reports)
    assert float(reports[2].losses.objectness) < float(reports[0].losses.objectness)


@pytest.mark.parametrize(
    ("precision", "layout"),
    [("fp32", torch.contiguous_format), ("fp32", torch.channels_last), ("fp16", torch.channels_last)],
)
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, precision, layout):
    settings = toy_settings(6, precision, multi_scale=(1, 1))
    batches = [toy_batch(seed) for seed in range(6)]
    whole = toy_state(settings, layout=layout)
    list(train(whole, batches, settings, CPU))

    part = toy_state(settings, layout=layout)
    list(train(part, batches[:2], settings, CPU))
    folder = save_checkpoint(tmp_path, part, facts(2))
    resumed = toy_state(settings, seed=99, layout=layout)
    assert restore(folder, resumed).step == 2
    list(train(resumed, batches[2:], settings, CPU))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.ema.state_dict().items():
        assert torch.equal(value, resumed.ema.state_dict()[name]), name


def test_a_loss_that_is_no_number_stops_training_and_names_the_step():
    settings = toy_settings(5)
    state = toy_state(settings)
    steps = train(state, [toy_batch()] * 5, settings, CPU)
    next(steps)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 \(epoch 0\) is not finite"):
        list(steps)


def test_the_last_step_is_checked_too():
    settings = toy_settings(1)
    state = toy_state(settings)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0"):
        list(train(state, [toy_batch()], settings, CPU))
