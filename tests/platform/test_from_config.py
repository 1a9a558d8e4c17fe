"""Every field of the engine is a setting: of its name, or made of others; both sides name the same choices."""

from dataclasses import MISSING, fields
from typing import get_args

import pytest

from rayox_model.core.plan import StreamPlan
from rayox_model.train.engine_settings import EngineSettings, Precision
from rayox_model.train.loss_scale import LossScale
from rayox_model.train.optimizer import OptimizerName
from rayox_model.train.parts import BatchNorm, Freeze
from rayox_platform.config.tree import Config, Train
from rayox_platform.train.from_config import engine_settings

PLAN = StreamPlan(num_images=64, batch_size=16, lanes=2, epochs=7, seed=5, closing_epochs=3)
MADE = {"schedule", "image_size", "ema_decay", "ema_ramp_steps", "precision", "assigner", "loss"}
OF_SAME_NAME = {
    "epochs": 7,
    "closing_epochs": 3,
    "multi_scale": (1, 2),
    "optimizer": "adamw",
    "weight_decay": 0.25,
    "momentum": 0.75,
    "seed": 5,
    "accumulate": 2,
    "clip_grad_norm": 4.0,
    "beta2": 0.5,
    "freeze": "backbone",
    "batch_norm": "frozen",
    "channels_last": False,
    "compile": True,
    "loss_scale": LossScale(initial=8.0),
}


def test_a_field_of_the_engine_is_the_setting_of_its_name():
    """No value is a default, so one that is not handed on is found; a new field has to be listed."""
    assert {field.name for field in fields(EngineSettings)} == MADE | set(OF_SAME_NAME)
    assert {name for name in OF_SAME_NAME if name not in Train.model_fields} == set()
    train = Train().model_copy(update=OF_SAME_NAME)
    engine = engine_settings(Config().model_copy(update={"train": train}), PLAN, "cpu")
    assert {name: getattr(engine, name) for name in OF_SAME_NAME} == OF_SAME_NAME
    assert [name for name, value in OF_SAME_NAME.items() if value == getattr(Train(), name)] == []


@pytest.mark.parametrize(
    ("name", "choices"), [("optimizer", OptimizerName), ("freeze", Freeze), ("batch_norm", BatchNorm)]
)
def test_a_setting_has_the_choices_of_the_engine(name, choices):
    assert get_args(Train.model_fields[name].annotation) == get_args(choices)


def test_precision_has_the_engine_s_and_auto():
    assert get_args(Train.model_fields["precision"].annotation) == ("auto", *get_args(Precision))


def test_a_default_of_the_engine_is_that_of_the_setting():
    of_engine = {field.name: field.default for field in fields(EngineSettings) if field.default is not MISSING}
    assert of_engine == {name: getattr(Train(), name) for name in of_engine}
