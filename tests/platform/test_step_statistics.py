"""The numbers of several steps, from reports made by hand."""

import pytest
import torch

from rayox_model.loss.losses import LossTerms
from rayox_model.train.engine import StepReport
from rayox_platform.train.step_statistics import StepStatistics


def report(norm, skipped=False, total=6.0, positives=12.0, boxes=4.0, scale=None):
    losses = LossTerms(*(torch.tensor(value) for value in (total, 3.0, 2.0, 1.0, 0.0, positives, boxes)))
    flags = torch.tensor(skipped), torch.tensor(False)
    return StepReport(0, 0, 8, losses, torch.tensor(norm), *flags, 0.1, data_seconds=0.5, step_seconds=2.0, scale=scale)


def test_means_of_losses_and_gradients_and_the_count_of_skipped_steps():
    meter = StepStatistics(batch_size=16)
    meter.add(report(2.0))
    meter.add(report(float("inf"), skipped=True, total=8.0))
    meter.add(report(4.0, positives=30.0, boxes=6.0))
    summary = meter.summary()
    assert summary["loss_total"] == pytest.approx(20 / 3)
    assert summary["gradient_norm"] == 3.0  # of the two steps that were taken
    assert summary["skipped_steps"] == 1
    assert summary["positives_per_box"] == pytest.approx(54 / 14)
    assert summary["images_per_second"] == 8.0
    assert summary["data_wait_fraction"] == 0.25
    assert "gradient_scale" not in summary


def test_the_scale_of_fp16_is_that_of_the_last_step():
    meter = StepStatistics(batch_size=16)
    meter.add(report(float("inf"), skipped=True, scale=torch.tensor(256.0)))
    meter.add(report(2.0, scale=torch.tensor(128.0)))
    assert meter.summary()["gradient_scale"] == 128


def test_of_no_steps_everything_is_zero():
    assert max(StepStatistics(batch_size=16).summary().values()) == pytest.approx(0, abs=1e-8)
