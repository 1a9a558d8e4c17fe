"""Which parts of a network learn, and which statistics move: freezing and the three ways of batch normalisation.

A frozen part gets no gradient, is not in the optimiser, and its batch norm works with the statistics it has.
"""

from collections.abc import Iterator
from typing import Literal

from torch import nn

from rayox_model.nets.batchnorm import synchronise
from rayox_model.nets.yolox import YOLOX

Freeze = Literal["none", "backbone", "backbone_and_neck"]
BatchNorm = Literal["local", "synchronised", "frozen"]


def arrange(model: YOLOX, freeze: Freeze, batch_norm: BatchNorm, device_type: str) -> None:
    """Take the frozen parts out of learning and change the batch norm; before any optimiser or DDP sees the model."""
    for part in frozen_parts(model, freeze):
        part.requires_grad_(False)
    if batch_norm == "synchronised":
        synchronise(model, device_type)


def start_training(model: YOLOX, freeze: Freeze, batch_norm: BatchNorm) -> None:
    """Training mode, but for what is frozen."""
    model.train()
    for part in frozen_parts(model, freeze):
        part.eval()
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.eval()


def frozen_parts(model: YOLOX, freeze: Freeze) -> Iterator[nn.Module]:
    """The backbone is the module's `backbone.backbone`; the neck is around it (as in the official checkpoints)."""
    if freeze == "backbone":
        yield model.backbone.get_submodule("backbone")
    elif freeze == "backbone_and_neck":
        yield model.backbone
