"""The two optimisers: SGD with Nesterov momentum as published, AdamW for runs too short for it.

YOLOX (arXiv:2107.08430) Sec. 2.1. Weight decay is for convolution weights alone, never for batch norm or biases.
"""

from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

OptimizerName = Literal["sgd", "adamw"]


def make_optimizer(model: nn.Module, name: OptimizerName, weight_decay: float, momentum: float) -> Optimizer:
    """Two groups, decayed convolution weights first; the rate is 0 until the schedule sets it.

    For AdamW momentum is the first-moment coefficient β₁.
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=(momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=True, fused=True)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
