"""The two optimisers, SGD with Nesterov momentum as published and AdamW for runs too short for it; the gradient's norm.

YOLOX (arXiv:2107.08430) Sec. 2.1. Weight decay is for convolution weights alone, never for batch norm or biases.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

OptimizerName = Literal["sgd", "adamw"]


def make_optimizer(
    model: nn.Module, name: OptimizerName, weight_decay: float, momentum: float, beta2: float = 0.999
) -> Optimizer:
    """Two groups, decayed convolution weights first; the rate is 0 until the schedule sets it.

    For AdamW (arXiv:1711.05101) momentum is the first-moment coefficient β₁, and beta2 that of the second moment.
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=(momentum, beta2), fused=True)
    sgd = torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0, fused=True)
    start_momentum(sgd)
    return sgd


def start_momentum(optimizer: Optimizer) -> None:
    """Give SGD the momentum 0 wherever it has none yet: after it is made, and after an early checkpoint is loaded.

    Left alone, torch's fused SGD allocates momentum without a value in its first step, which writes it; a first step
    that GradScaler skips does not, and the next one adds whatever lay in that memory. From 0 a step is the same to the
    bit: the new momentum is the gradient. AdamW begins with zeros by itself.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def trained_parameters(optimizer: Optimizer) -> list[Tensor]:
    """Those that have a gradient now."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def scale_gradients(optimizer: Optimizer, factor: Float32[Tensor, ""]) -> None:
    gradients = [p.grad for p in trained_parameters(optimizer) if p.grad is not None]
    for gradient in gradients:
        gradient.mul_(factor)


def clip_gradients(optimizer: Optimizer, limit: float | None) -> Float[Tensor, ""]:
    """The L2 norm of the whole gradient, which is scaled down to the limit if there is one and it is above."""
    parameters = trained_parameters(optimizer)
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit is not None:
        clip_grads_with_norm_(parameters, limit, norm)
    return norm


def skip_if(optimizer: Optimizer, condition: Bool[Tensor, ""]) -> None:
    """Let the next step change nothing if the condition holds, decided on the device: nobody waits for it.

    That is how GradScaler speaks to torch's fused optimisers; here it works in every precision.
    """
    optimizer.found_inf = condition.float()  # type: ignore[attr-defined]
