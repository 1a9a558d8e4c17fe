"""All that decides what a training step does to the weights."""

from dataclasses import dataclass, field
from typing import Literal

from rayox_model.assign.assigner_settings import Assigner
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.train.loss_scale import LossScale
from rayox_model.train.optimizer import OptimizerName
from rayox_model.train.parts import BatchNorm, Freeze
from rayox_model.train.schedule import Schedule

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """All that decides what a step does to the weights."""

    schedule: Schedule
    epochs: int
    closing_epochs: int  # the last ones: no mosaic, no mixup, L1 loss on
    image_size: tuple[int, int]
    multi_scale: tuple[int, int]  # times 32 pixels the input may be smaller and larger
    optimizer: OptimizerName
    weight_decay: float
    momentum: float
    ema_decay: float
    ema_ramp_steps: float | None  # None: scaled to the run
    precision: Precision
    seed: int
    assigner: Assigner
    loss: LossWeights
    accumulate: int = 1  # parts that a worker's share of a step is computed in, one after the other
    clip_grad_norm: float | None = None
    beta2: float = 0.999  # AdamW's second-moment coefficient
    freeze: Freeze = "none"
    batch_norm: BatchNorm = "local"
    channels_last: bool = True
    compile: bool = False
    loss_scale: LossScale = field(default_factory=LossScale)  # of fp16

    def with_l1(self, epoch: int) -> bool:
        return epoch >= self.epochs - self.closing_epochs
