"""Every setting says what it is for."""

import json

import pytest

from rayox_model.core.errors import ConfigError
from rayox_platform.config.explain import explain, explain_json
from rayox_platform.config.settings import json_schema, settings

FIXED_KEYS = (
    *("name", "image_size", "storage", "data.lanes", "tracking.uri"),
    *(f"data.{split}.{part}" for split in ("train", "val") for part in ("annotations", "images")),
    *("model.size", "model.init", "checkpoint.every_steps", "checkpoint.keep"),
    *("train.epochs", "train.batch_size", "train.workers", "train.precision", "train.optimizer", "train.seed"),
    *("train.max_failures", "eval.score_threshold", "eval.nms_threshold"),
)


@pytest.mark.parametrize("key", FIXED_KEYS)
def test_the_fixed_names_are_there(key):
    assert not settings()[key].is_section


@pytest.mark.parametrize("key", [key for key in settings() if key])
def test_every_setting_is_described(key):
    assert settings()[key].description.endswith("."), f"{key} has no docstring"


def test_a_setting_is_explained():
    text = explain("train.ema.ramp_steps")
    assert text.startswith("train.ema.ramp_steps: Steps τ over which")
    assert "takes    a number > 0 or auto" in text
    assert "default  auto" in text


def test_a_range_and_an_unset_default():
    assert "takes    a number ≥ 0, ≤ 1" in explain("augment.mosaic_prob")
    assert "default  null (unset)" in explain("model.init")


def test_a_section_lists_its_settings():
    assert explain("checkpoint").splitlines()[1].split()[0] == "checkpoint.every_steps"
    data = ["data.train", "data.val", "data.lanes", "data.max_bad_images", "data.nodes"]
    assert explain_json("data")["settings"] == data


def test_an_unknown_key_is_answered_with_the_near_one():
    with pytest.raises(ConfigError) as caught:
        explain("train.epocs")
    assert (caught.value.message, caught.value.hint) == ("train.epocs: no such setting", "did you mean train.epochs?")


def test_the_schema_is_json_and_carries_the_descriptions():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Augment"]["properties"]["hue"]["description"]
    assert schema["$defs"]["Train"]["properties"]["epochs"]["description"] == "Passes over the training images."
