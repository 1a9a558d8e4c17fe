"""The settings of a step on a toy, which tests change as they need."""

from rayox_model.assign.simota_settings import SimOTA
from rayox_model.loss.loss_weights import LossWeights
from rayox_model.train.engine_settings import EngineSettings
from rayox_model.train.schedule import Schedule

ENGINE = EngineSettings(
    schedule=Schedule(peak=1e-3, floor_ratio=0.5, warmup_steps=0, flat_steps=0, num_steps=4),
    epochs=1,
    closing_epochs=0,
    image_size=(64, 64),
    multi_scale=(0, 0),
    optimizer="sgd",
    weight_decay=0.0,
    momentum=0.9,
    ema_decay=0.9998,
    ema_ramp_steps=None,
    precision="fp32",
    seed=0,
    assigner=SimOTA(),
    loss=LossWeights(),
)
