"""From the configuration tree to what the engine and the evaluation take."""

from dataclasses import replace

from rayox_model.core.plan import StreamPlan
from rayox_model.train.engine_settings import EngineSettings, Precision
from rayox_model.train.schedule import Schedule
from rayox_platform.config.tree import Config
from rayox_platform.evaluate.evaluation import EvaluationSettings
from rayox_platform.ray_internals.bfloat16 import cpu_has_bfloat16


def engine_settings(config: Config, plan: StreamPlan, device_type: str) -> EngineSettings:
    """device_type is "cuda" or "cpu": precision auto is fp16 on a GPU."""
    train = config.train
    flat_epochs = train.closing_epochs if train.flat_epochs == "closing" else train.flat_epochs
    ramp = None if train.ema.ramp_steps == "auto" else train.ema.ramp_steps
    return EngineSettings(
        schedule=Schedule(
            peak=train.learning_rate * train.batch_size,
            floor_ratio=train.min_learning_rate_ratio,
            warmup_steps=round(train.warmup_epochs * plan.steps_per_epoch),
            flat_steps=flat_epochs * plan.steps_per_epoch,
            num_steps=plan.num_steps,
        ),
        epochs=train.epochs,
        closing_epochs=train.closing_epochs,
        image_size=config.image_size,
        multi_scale=train.multi_scale,
        optimizer=train.optimizer,
        weight_decay=train.weight_decay,
        momentum=train.momentum,
        beta2=train.beta2,
        ema_decay=train.ema.decay,
        ema_ramp_steps=ramp,
        precision=_precision(train.precision, device_type),
        seed=train.seed,
        assigner=config.assigner,
        loss=config.loss,
        accumulate=train.accumulate,
        clip_grad_norm=train.clip_grad_norm,
        freeze=train.freeze,
        batch_norm=train.batch_norm,
        channels_last=train.channels_last,
        compile=train.compile,
        loss_scale=train.loss_scale,
    )


def for_workers(engine: EngineSettings, plan: StreamPlan, num_workers: int) -> EngineSettings:
    """As this many workers train: where they do not divide the lanes their shares are unequal.

    The mean of each worker's own loss per positive would then weigh images by the size of their share.
    """
    if plan.lanes % num_workers == 0:
        return engine
    return replace(engine, loss=replace(engine.loss, divide_by="all_positives"))


def evaluation_settings(config: Config) -> EvaluationSettings:
    return EvaluationSettings(
        score_threshold=config.eval.score_threshold,
        nms_threshold=config.eval.nms_threshold,
        batch_size=config.eval.batch_size,
    )


def _precision(name: str, device_type: str) -> Precision:
    """auto: fp16 on a GPU; on a CPU bf16 if it has instructions for it (measured 1.3 times fp32), else fp32."""
    if name == "auto":
        if device_type == "cuda":
            return "fp16"
        return "bf16" if cpu_has_bfloat16() else "fp32"
    assert name in ("fp32", "bf16", "fp16")
    return name  # type: ignore[return-value]  # pydantic has checked it
