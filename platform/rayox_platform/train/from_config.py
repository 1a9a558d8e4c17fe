"""From the configuration tree to what the engine and the evaluation take."""

from dataclasses import fields, replace
from typing import Any

from rayox_model.core.plan import StreamPlan
from rayox_model.train.engine_settings import EngineSettings, Precision
from rayox_model.train.schedule import Schedule
from rayox_platform.config.tree import Config, Train
from rayox_platform.evaluate.evaluation import EvaluationSettings
from rayox_platform.ray_internals.bfloat16 import cpu_has_bfloat16


def engine_settings(config: Config, plan: StreamPlan, device_type: str) -> EngineSettings:
    """device_type is "cuda" or "cpu": precision auto is fp16 on a GPU.

    A field of the engine is the setting of the same name in the section train, unless it is made of others here.
    """
    train = config.train
    made: dict[str, Any] = {
        "schedule": _schedule(train, plan),
        "image_size": config.image_size,
        "ema_decay": train.ema.decay,
        "ema_ramp_steps": None if train.ema.ramp_steps == "auto" else train.ema.ramp_steps,
        "precision": _precision(train.precision, device_type),
        "assigner": config.assigner,
        "loss": config.loss,
    }
    same = {field.name: getattr(train, field.name) for field in fields(EngineSettings) if field.name not in made}
    return EngineSettings(**made, **same)


def _schedule(train: Train, plan: StreamPlan) -> Schedule:
    flat_epochs = train.closing_epochs if train.flat_epochs == "closing" else train.flat_epochs
    return Schedule(
        peak=train.learning_rate * train.batch_size,
        floor_ratio=train.min_learning_rate_ratio,
        warmup_steps=round(train.warmup_epochs * plan.steps_per_epoch),
        flat_steps=flat_epochs * plan.steps_per_epoch,
        num_steps=plan.num_steps,
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
