"""Steps that GradScaler skips while it finds its scale: they change nothing, and what follows is as without them."""

from dataclasses import replace

import pytest
import torch
from make_checkpoint import save_checkpoint
from test_engine import CPU, facts, toy_batch, toy_settings, toy_state

from rayox_model.checkpoint.snapshot import restore
from rayox_model.train.engine import NonFiniteError, train
from rayox_model.train.loss_scale import LEAST_SCALE, LossScale
from rayox_model.train.optimizer import make_optimizer, set_learning_rate

pytestmark = pytest.mark.slow

BEYOND = 2.0**60  # a scale at which every gradient leaves fp16
WITHIN = 2.0**7  # and one at which none does


@pytest.fixture
def empty_memory_is_nan():
    """What torch allocates without a value is NaN, not whatever lay there: a use of it cannot pass by luck."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def settings_of(optimizer, **changes):
    return replace(toy_settings(8, "fp16", optimizer), **changes)


def rescale(state, scale):
    state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)


def tensors(state):
    """Everything a step may change, but the statistics of batch norm, which move in a skipped step too."""
    found = {name: value.detach() for name, value in state.model.named_parameters()}
    for number, entry in enumerate(state.optimizer.state.values()):
        found |= {f"{number}.{name}": value for name, value in entry.items()}
    return found


def assert_same(one, two):
    for name, value in tensors(one).items():
        assert torch.equal(value, tensors(two)[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2, "clip_grad_norm": 1.0, "freeze": "backbone"}], ids=["plain", "with all else"]
)
def test_a_step_after_skipped_ones_is_that_of_a_fresh_run(optimizer, changes, empty_memory_is_nan):
    """Batch norm is frozen, so that the forward pass after the skipped steps is the one before them."""
    settings = settings_of(optimizer, batch_norm="frozen", **changes)
    fresh, skipping = toy_state(settings), toy_state(settings)
    rescale(skipping, BEYOND)
    (skipped,) = train(skipping, [toy_batch()], settings, CPU)
    assert bool(skipped.skipped)
    fresh.step = skipping.step  # the schedule counts skipped steps
    for state in (fresh, skipping):
        rescale(state, WITHIN)
        reports = list(train(state, [toy_batch(1), toy_batch(2)], settings, CPU))
        assert not any(bool(report.skipped) for report in reports)
    assert_same(fresh, skipping)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_resumed_between_skipped_steps_is_the_uninterrupted_one(tmp_path, optimizer, empty_memory_is_nan):
    settings = settings_of(optimizer)
    whole, part = toy_state(settings), toy_state(settings)
    batches = [toy_batch(seed) for seed in range(5)]
    for state in (whole, part):
        rescale(state, 4 * WITHIN)
    skipped = [bool(report.skipped) for report in train(whole, batches, settings, CPU)]
    assert skipped[:2] == [True, True]
    assert not skipped[-1]
    list(train(part, batches[:1], settings, CPU))
    resumed = toy_state(settings, seed=9)
    restore(save_checkpoint(tmp_path, part, facts(1)), resumed)
    assert resumed.scaler.get_scale() == 2 * WITHIN
    list(train(resumed, batches[1:], settings, CPU))
    assert_same(whole, resumed)


def test_a_checkpoint_without_momentum_goes_on_from_momentum_0(tmp_path, empty_memory_is_nan):
    """As those of step 0 were before: a resumed run may skip its first steps as well."""
    settings = settings_of("sgd")
    early = toy_state(settings)
    early.optimizer.state.clear()
    resumed = toy_state(settings, seed=9)
    restore(save_checkpoint(tmp_path, early, facts(0)), resumed)
    rescale(resumed, BEYOND)
    list(train(resumed, [toy_batch()], settings, CPU))
    moments = [entry["momentum_buffer"] for entry in resumed.optimizer.state.values()]
    assert moments
    assert all(bool((moment == 0).all()) for moment in moments)


def test_momentum_lies_in_memory_as_its_weights_do():
    """The fused kernels walk through both by address."""
    state = toy_state(settings_of("sgd"))
    for parameter, entry in state.optimizer.state.items():
        assert entry["momentum_buffer"].stride() == parameter.stride()


def test_sgd_without_momentum_steps_along_the_gradient():
    model = torch.nn.Linear(2, 2)
    before, optimizer = model.weight.detach().clone(), make_optimizer(model, "sgd", 0.0, momentum=0.0)
    set_learning_rate(optimizer, 0.5)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(model.weight, before - 0.5)


def test_a_gradient_that_overflows_at_every_scale_ends_the_run():
    """An infinite gradient: the scale would fall forever, and nothing would be trained."""
    settings = settings_of("sgd", loss_scale=LossScale(initial=4 * LEAST_SCALE, backoff_factor=0.25))
    state = toy_state(settings)
    weight = state.model.get_parameter("head.cls_preds.0.bias")
    weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
    steps = train(state, [toy_batch()] * 4, settings, CPU)
    assert bool(next(steps).skipped)
    assert float(next(steps).scale) == LEAST_SCALE
    with pytest.raises(NonFiniteError, match=r"gradient .* of step 1 .* scaled by 6.10352e-05"):
        next(steps)


def test_the_scale_grows_and_falls_as_set():
    settings = settings_of("sgd", loss_scale=LossScale(initial=8.0, growth_factor=4.0, growth_interval=2))
    state = toy_state(settings)
    scales = [float(report.scale) for report in train(state, [toy_batch()] * 3, settings, CPU)]
    assert scales == [8, 8, 32]
