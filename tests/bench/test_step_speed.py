"""A whole training step against the official code's: both timed in turn in one run, medians compared."""

import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from rayox_model.nets.yolox import YOLOX
from rayox_platform.ray_internals.prestart import worker_environment

HERE = Path(__file__).resolve().parent
WARM_UP, ROUNDS = 3, 15


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("size", "side", "precision", "floor"),
    [("nano", 416, "fp32", 1.35), ("s", 320, "fp32", 1.25), ("s", 320, "bf16", 2.0)],
)
def test_a_step_is_faster_than_the_official_code(
    oracle_python, start, tmp_path, monkeypatch, size, side, precision, floor
):
    """Batch 4, from the images to the updated average, from the same weights; against fp32 of the official code."""
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no instructions for bf16")
    monkeypatch.syspath_prepend(str(HERE))
    from step_case import NUM_CLASSES, step_case

    torch.manual_seed(0)
    weights = {f"weight.{name}": value.numpy() for name, value in YOLOX(size, NUM_CLASSES).state_dict().items()}
    case = weights | step_case(side, batch_size=4) | {"model": np.array(size), "threads": np.array(2)}
    for name, of in (("official", "fp32"), ("ours", precision)):
        np.savez(tmp_path / f"{name}.npz", **case, precision=np.array(of))
    official = start(oracle_python, HERE / "oracle_step.py", tmp_path / "official.npz")
    memory = [
        f"{name}={value}" for name, value in worker_environment().items() if name.startswith("MALLOC_")
    ]  # as a worker has
    ours = start("env", *memory, sys.executable, HERE / "rayox_step.py", tmp_path / "ours.npz")
    for _ in range(WARM_UP + ROUNDS):
        official.run()
        ours.run()
    seconds = {}
    for name, runner in (("official", official), ("ours", ours)):
        seconds[name] = median(answer[0] for answer in runner.answers[WARM_UP:])
    ratio = seconds["official"] / seconds["ours"]
    print(f"\n{size} {side} px, batch 4, {precision}, 2 threads, medians of {ROUNDS}: {ratio:.2f} times faster")
    print("; ".join(f"{name} {value * 1000:.0f} ms" for name, value in seconds.items()))
    assert official.answers[0][1] == pytest.approx(ours.answers[0][1], rel=1e-3 if precision == "fp32" else 0.05)
    assert ratio >= floor
