"""One training step of ours, timed once per line of standard input.

rayox_step.py CASE    answers with the seconds: the engine's own step, from uint8 images to updated average
"""

import sys
from collections.abc import Iterator

import numpy as np
import torch

from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.structures import Batch, Targets
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state, train
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.schedule import Schedule


def settings_of(case: dict[str, np.ndarray], compiled: bool) -> EngineSettings:
    """The published recipe's step: SGD, average, no multi-scale."""
    side = case["images"].shape[1]
    return EngineSettings(
        schedule=Schedule(peak=1e-4, floor_ratio=1.0, warmup_steps=0, flat_steps=0, num_steps=10_000),
        epochs=1,
        closing_epochs=0,
        image_size=(side, side),
        multi_scale=(0, 0),
        optimizer="sgd",
        weight_decay=5e-4,
        momentum=0.9,
        ema_decay=0.9998,
        ema_ramp_steps=2000.0,
        precision=str(case["precision"]),
        seed=0,
        assigner=SimOTA(),
        loss=LossWeights(),
        compile=compiled,
    )


def serve(path: str, compiled: bool) -> None:
    case = dict(np.load(path))
    torch.set_num_threads(int(case["threads"]))
    settings, device = settings_of(case, compiled), torch.device("cpu")
    model = YOLOX(str(case["model"]), int(case["num_classes"]))
    model.load_state_dict({name[7:]: torch.from_numpy(value) for name, value in case.items() if name[:7] == "weight."})
    targets = Targets(*(torch.from_numpy(case[name]) for name in ("boxes", "labels", "image_index")))
    batch = Batch(torch.from_numpy(case["images"]), targets, 0)

    def batches() -> Iterator[Batch]:
        for _ in sys.stdin:
            yield batch

    for report in train(new_state(model, settings, device), batches(), settings, device):
        print(report.step_seconds - report.data_seconds, float(report.losses.total), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], "compiled" in sys.argv[2:])
