"""The loop over a list of batches: it learns, it resumes to the last bit, it stops at a loss that is not finite."""

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from make_checkpoint import save_checkpoint
from patience import patient
from toy_engine import ENGINE

from rayox_model.assign.assigner import assign
from rayox_model.checkpoint.checkpoint_folder import newest_checkpoint
from rayox_model.checkpoint.snapshot import Facts, restore
from rayox_model.core.errors import ConfigError, TrainingError
from rayox_model.core.structures import Batch, Targets
from rayox_model.loss.losses import LossWeights
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import NonFiniteError, new_state, predict, sums_of, train
from rayox_model.train.loss_scale import LossScale
from rayox_model.train.schedule import Schedule

CPU = torch.device("cpu")
CLASSES = ("a", "b")


def toy_settings(steps, precision="fp32", optimizer="adamw", closing_epochs=0, epochs=1, multi_scale=(0, 0)):
    return replace(
        ENGINE,
        schedule=Schedule(peak=2e-3, floor_ratio=0.5, warmup_steps=2, flat_steps=0, num_steps=steps),
        epochs=epochs,
        closing_epochs=closing_epochs,
        multi_scale=multi_scale,
        optimizer=optimizer,
        weight_decay=5e-4,
        precision=precision,
        seed=3,
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


def toy_state(settings, seed=0, layout=torch.contiguous_format, size="nano"):
    torch.manual_seed(seed)
    return new_state(YOLOX(size, len(CLASSES)).to(memory_format=layout), settings, CPU)


def facts(step, size="nano"):
    return Facts(
        model=YOLOXSpec(size=size), classes=CLASSES, image_size=(64, 64), step=step, epoch=0, config={}, metrics={}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "optimizer", "steps", "peak"),
    [("fp32", "sgd", 80, 5e-4), ("fp32", "adamw", 30, 2e-3), ("bf16", "adamw", 30, 2e-3), ("fp16", "adamw", 30, 2e-3)],
)
def test_one_batch_is_learnt_by_heart(precision, optimizer, steps, peak):
    """SGD at 0.002 swings so much that rounding decides where it is after 40 steps: 0.6 to 0.84 of the loss.

    From the usual loss scale fp16 skips the first dozen steps, and how many depends on the processor.
    """
    settings = toy_settings(steps, precision, optimizer)
    schedule = replace(settings.schedule, peak=peak)
    settings = replace(settings, schedule=schedule, loss_scale=LossScale(initial=256.0))
    state = toy_state(settings, seed=1)
    reports = list(train(state, [toy_batch()] * steps, settings, CPU))
    first, last = (sum(float(r.losses.total) for r in part) / 3 for part in (reports[:3], reports[-3:]))
    assert [r.step for r in reports] == list(range(steps))
    assert state.step == steps
    assert last < 0.7 * first, (first, last)
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "layout", "size"),
    [
        ("fp32", torch.contiguous_format, "nano"),
        ("fp32", torch.channels_last, "nano"),
        ("fp32", torch.channels_last, "tiny"),  # with large kernels that are not depthwise
        ("fp16", torch.channels_last, "nano"),
    ],
)
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, precision, layout, size):
    settings = toy_settings(6, precision, multi_scale=(1, 1))
    batches = [toy_batch(seed) for seed in range(6)]
    whole = toy_state(settings, layout=layout, size=size)
    list(train(whole, batches, settings, CPU))

    part = toy_state(settings, layout=layout, size=size)
    list(train(part, batches[:2], settings, CPU))
    folder = save_checkpoint(tmp_path, part, facts(2, size))
    resumed = toy_state(settings, seed=99, layout=layout, size=size)
    assert restore(folder, resumed).step == 2
    list(train(resumed, batches[2:], settings, CPU))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.ema.state_dict().items():
        assert torch.equal(value, resumed.ema.state_dict()[name]), name


@pytest.mark.slow
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


def one_step(batch, **changes):
    """The report and the gradients of one step from the same weights, batch norm frozen at statistics that fit.

    The network computes in fp64: through fifty layers of fp32 the same sums in another order differ by 2e-6.
    """
    settings = replace(toy_settings(4, "fp32", "sgd", closing_epochs=1), batch_norm="frozen", **changes)
    torch.manual_seed(0)
    model = YOLOX("nano", len(CLASSES)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model(batch.images.permute(0, 3, 1, 2).float())
    model.double().register_forward_pre_hook(lambda _, images: images[0].double())
    state = new_state(model, settings, CPU)
    (report,) = train(state, [batch], settings, CPU)
    return report, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, state


def length(gradients):
    return float(torch.stack([gradient.norm() for gradient in gradients.values()]).norm())


@pytest.mark.slow
@pytest.mark.parametrize("divide_by", ["worker_positives", "all_positives"])
def test_accumulated_parts_give_the_gradient_of_the_whole_batch(divide_by):
    batch = toy_batch(num_images=5)
    whole, gradients, _ = one_step(batch, loss=LossWeights(divide_by=divide_by))
    report, accumulated, _ = one_step(batch, accumulate=3, loss=LossWeights(divide_by=divide_by))
    apart = length({name: gradients[name] - accumulated[name] for name in gradients})
    assert apart < 1e-6 * length(gradients)
    for name in ("total", "iou", "objectness", "classification", "l1", "num_positives", "num_boxes"):
        assert float(getattr(report.losses, name)) == pytest.approx(float(getattr(whole.losses, name)), rel=1e-6), name
    assert report.num_images == 5


def test_more_parts_than_images_are_refused():
    with pytest.raises(ConfigError, match=r"train.accumulate: 3 parts, but a worker's share has only 2 images"):
        one_step(toy_batch(num_images=2), accumulate=3)


@pytest.mark.slow
def test_a_long_gradient_is_clipped_and_reported_as_it_was():
    free, gradients, _ = one_step(toy_batch())
    assert float(free.gradient_norm) == pytest.approx(length(gradients), rel=1e-5)
    limit = length(gradients) / 4
    clipped, shorter, _ = one_step(toy_batch(), clip_grad_norm=limit)
    assert length(shorter) == pytest.approx(limit, rel=1e-4)
    assert float(clipped.gradient_norm) == pytest.approx(length(gradients), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("freeze", "kept"), [("backbone", "backbone.backbone."), ("backbone_and_neck", "backbone.")])
def test_frozen_parts_keep_weights_and_statistics_and_are_not_in_the_optimiser(freeze, kept):
    settings = replace(toy_settings(4, "fp32", "sgd"), freeze=freeze)
    state = toy_state(settings)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    list(train(state, [toy_batch()] * 4, settings, CPU))
    changed = {name for name, value in state.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith(kept) for name in changed)
    assert any("running_mean" in name for name in changed)
    learning = sum(len(group["params"]) for group in state.optimizer.param_groups)
    assert learning == sum(not name.startswith(kept) for name, _ in state.model.named_parameters())


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights():
    _, gradients, state = one_step(toy_batch())
    assert int(next(m for m in state.model.modules() if isinstance(m, torch.nn.BatchNorm2d)).num_batches_tracked) == 1
    assert any(name.endswith("bn.weight") for name in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_is_a_setting_and_changes_no_number(channels_last):
    report, _, state = one_step(toy_batch(), channels_last=channels_last)
    stem = state.model.backbone.get_submodule("backbone.stem.conv.conv").weight
    assert stem.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert float(report.losses.total) == pytest.approx(float(one_step(toy_batch())[0].losses.total), rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_under_autocast_only_the_network_is_in_half_precision(precision):
    settings = toy_settings(1, precision, closing_epochs=1)
    state = toy_state(settings)
    predictions, anchors, targets = predict(state.model, toy_batch(), settings, 0, CPU)
    assert predictions.regression.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert targets.boxes.dtype == anchors.grid.dtype == torch.float32
    with torch.autocast("cpu", dtype=predictions.regression.dtype):  # even inside: they switch it off
        assert assign(predictions, anchors, targets, settings.assigner).iou.dtype == torch.float32
        sums = sums_of(predictions, anchors, targets, settings, epoch=0)
    assert bool(sums.l1 > 0)
    assert {term.dtype for term in sums} == {torch.float32}
    assert torch.equal(targets.boxes, toy_batch().targets.boxes)


@pytest.mark.slow
def test_a_gradient_beyond_half_precision_is_skipped_counted_and_no_failure():
    settings = toy_settings(3, "fp16", "sgd")
    state = toy_state(settings)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    report, *_ = list(train(state, [toy_batch()], settings, CPU))
    assert bool(report.skipped)
    assert not bool(report.failed)
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())
    assert int(state.ema.n_averaged) == 1  # the average moves on, as published
    assert state.scaler.get_scale() == 2.0**59


def poisoned_batch():
    """A box with its sides swapped: the logarithm in its L1 loss is not finite."""
    batch = toy_batch()
    batch.targets.boxes[1, [0, 2]] = batch.targets.boxes[1, [2, 0]]
    return batch


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("poisoned", [1, 3])
def test_no_checkpoint_has_a_poisoned_step_behind_it(tmp_path, precision, poisoned):
    """Saving after every step; the newest checkpoint is finite, from before the step, and goes on to it again."""
    settings = replace(toy_settings(4, precision, closing_epochs=1), channels_last=False)
    state = toy_state(settings)
    batches = [poisoned_batch() if step == poisoned else toy_batch() for step in range(4)]

    def train_and_save():
        for _ in train(state, batches, settings, CPU):
            save_checkpoint(tmp_path, state, facts(state.step))

    with pytest.raises(NonFiniteError, match=rf"the loss of step {poisoned} .* l1 nan") as caught:
        train_and_save()
    assert caught.value.of_loss
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    resumed = toy_state(settings, seed=9)
    assert restore(newest, resumed).step == poisoned
    saved = [*resumed.model.state_dict().values(), *resumed.ema.state_dict().values()]
    saved += [value for entry in resumed.optimizer.state.values() for value in entry.values()]
    assert all(bool(torch.isfinite(value).all()) for value in saved)
    for name, value in resumed.model.named_parameters():
        assert torch.equal(value, state.model.get_parameter(name)), name


def test_the_step_after_a_poisoned_one_changes_no_weight_either():
    settings = toy_settings(4, closing_epochs=1)
    state = toy_state(settings)
    steps = train(state, [poisoned_batch(), toy_batch(), toy_batch()], settings, CPU)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    next(steps)
    with pytest.raises(NonFiniteError, match="step 0"):
        next(steps)
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())


def test_the_error_crosses_processes_as_a_training_error():
    settings = toy_settings(1, closing_epochs=1)
    with pytest.raises(NonFiniteError) as caught:
        list(train(toy_state(settings), [poisoned_batch()], settings, CPU))
    there = pickle.loads(pickle.dumps(caught.value))
    assert (type(there), there.message, there.hint) == (TrainingError, caught.value.message, caught.value.hint)


@pytest.mark.faults  # by how long it takes: two to four minutes of compiling
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_it_learns_the_same_and_keys_stay_those_of_the_plain_module(tmp_path):
    """In a process of its own, as the tests' check of shapes cannot be compiled."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("compiled.py")
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=patient(580)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "same" in done.stdout
