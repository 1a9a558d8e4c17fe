import numpy as np
import pytest
import torch

from rayox_model.core.structures import Targets
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.ema import averaged, ramp_for
from rayox_model.train.multiscale import resize, size_at
from rayox_model.train.optimizer import make_optimizer
from rayox_model.train.schedule import Schedule

SCHEDULE = Schedule(peak=0.01, floor_ratio=0.05, warmup_steps=10, flat_steps=20, num_steps=100)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (5, 0.0025),  # (5 / 10)² of the peak
        (10, 0.01),
        (45, 0.0005 + 0.5 * 0.0095),  # half-way through the 70 steps of cosine
        (80, 0.0005),
        (99, 0.0005),
    ],
)
def test_learning_rate_rises_quadratically_falls_as_cosine_and_stays_flat(step, rate):
    assert SCHEDULE.at(step) == pytest.approx(rate)


def test_a_run_of_warmup_and_floor_alone_has_a_rate():
    short = Schedule(peak=1.0, floor_ratio=0.1, warmup_steps=2, flat_steps=2, num_steps=4)
    assert [short.at(step) for step in range(4)] == [0.0, 0.25, 0.1, 0.1]


def test_average_follows_its_formula_and_copies_counters():
    model = torch.nn.BatchNorm1d(2)
    ema = averaged(model, decay=0.9, ramp_steps=5.0)
    expected = model.weight.detach().clone()
    for update in range(4):
        with torch.no_grad():
            model.weight.add_(1.0)
            model.num_batches_tracked.add_(1)
        ema.update_parameters(model)
        decay = 0.9 * (1 - np.exp(-(update + 1) / 5.0)) if update else 0.0  # torch's first update is a copy
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(ema.module.weight.detach(), expected)
    assert ema.module.num_batches_tracked == 4


@pytest.mark.parametrize("num_steps", [1, 10, 810, 20_000, 555_000])
def test_ramp_ends_with_a_window_of_a_twentieth_of_the_run_at_most_the_published_ramp(num_steps):
    ramp = ramp_for(num_steps)
    assert 0 < ramp <= 2000
    if ramp < 2000:
        assert np.exp(num_steps / ramp) == pytest.approx(max(0.05 * num_steps, np.e))


def test_only_convolution_weights_decay():
    model = YOLOX("nano", 3)
    decayed, plain = make_optimizer(model, "sgd", 5e-4, 0.9).param_groups
    assert decayed["weight_decay"] == 5e-4
    assert plain["weight_decay"] == 0
    assert all(p.ndim == 4 for p in decayed["params"])
    assert {p.ndim for p in plain["params"]} == {1}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def test_adamw_forgets_gradients_as_its_settings_say():
    model = torch.nn.Conv2d(1, 1, 1, bias=False)
    optimizer = make_optimizer(model, "adamw", 0.0, momentum=0.8, beta2=0.75)
    for gradient in (2.0, 4.0):
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
    (state,) = optimizer.state.values()
    assert state["exp_avg"].item() == pytest.approx(0.8 * 0.2 * 2 + 0.2 * 4)
    assert state["exp_avg_sq"].item() == pytest.approx(0.75 * 0.25 * 4 + 0.25 * 16)


def test_sizes_are_drawn_from_step_and_seed_alone():
    sizes = {size_at(step, (416, 416), (3, 7), seed=1) for step in range(2000)}
    assert {height for height, _ in sizes} == set(range(320, 641, 32))
    assert all(height == width for height, width in sizes)
    assert size_at(19, (416, 416), (3, 7), 1) == size_at(10, (416, 416), (3, 7), 1)
    assert size_at(9, (416, 416), (3, 7), 1) == (416, 416)
    assert size_at(500, (320, 640), (2, 2), 1)[1] == 2 * size_at(500, (320, 640), (2, 2), 1)[0]


def test_resizing_takes_the_boxes_along():
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 16:32, 8:40] = 1
    targets = Targets(torch.tensor([[8.0, 16, 40, 32]]), torch.tensor([0]), torch.tensor([0]))
    resized, moved = resize(image, targets, (128, 96))
    assert moved.boxes.tolist() == [[12.0, 32, 60, 64]]
    x1, y1, x2, y2 = map(int, moved.boxes[0])
    assert resized[0, 0, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() == 1
    assert resized[0, 0, : y1 - 2].max() == 0
