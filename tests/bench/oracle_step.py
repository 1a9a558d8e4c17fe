"""One training step of the official code (pixeltable-yolox 0.4.3), timed once per line of standard input.

    oracle_step.py CASE    answers with the seconds

Its own model, SGD groups and average, put together as its trainer does, which itself needs CUDA: float images to
updated average.
"""

import importlib
import sys
import time

import numpy as np
import torch
from oracle_loss import official_head, padded_labels


def official_model(size: str, num_classes: int) -> torch.nn.Module:
    from step_case import DEPTH_WIDTH

    head = official_head()  # stands in for the package's __init__, which imports half the world
    neck = importlib.import_module("yolox.models.yolo_pafpn").YoloPafpn
    depth, width = DEPTH_WIDTH[size]
    depthwise, channels = size == "nano", [256, 512, 1024]

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = neck(depth, width, in_channels=channels, depthwise=depthwise)
            self.head = head(num_classes, width, in_channels=channels, depthwise=depthwise)

        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return self.head(self.backbone(images), labels, images)[0]

    return Model()


def official_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    scales, weights, biases = [], [], []
    for name, module in model.named_modules():
        if isinstance(getattr(module, "bias", None), torch.nn.Parameter):
            biases.append(module.bias)
        if isinstance(module, torch.nn.BatchNorm2d) or "bn" in name:
            scales.append(module.weight)
        elif isinstance(getattr(module, "weight", None), torch.nn.Parameter):
            weights.append(module.weight)
    optimizer = torch.optim.SGD(scales, lr=1e-4, momentum=0.9, nesterov=True)
    optimizer.add_param_group({"params": weights, "weight_decay": 5e-4})
    optimizer.add_param_group({"params": biases})
    return optimizer


def serve(path: str) -> None:
    case = dict(np.load(path))
    torch.set_num_threads(int(case["threads"]))
    model = official_model(str(case["model"]), int(case["num_classes"]))
    model.load_state_dict({name[7:]: torch.from_numpy(value) for name, value in case.items() if name[:7] == "weight."})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
    model.train()
    average = importlib.import_module("yolox.utils.ema").ModelEMA(model, 0.9998)
    optimizer = official_optimizer(model)
    images = torch.from_numpy(case["images"]).permute(0, 3, 1, 2).float().contiguous()  # its loader gives floats
    labels = padded_labels(case, len(images))
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=str(case["precision"]) == "bf16"):
            loss = model(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model)
        print(time.perf_counter() - start, float(loss.detach()), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
