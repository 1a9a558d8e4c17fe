"""Precedence, origins, and how values are written; the packaged recipes."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from rayox_model.core.errors import ConfigError
from rayox_model.nets.yolox import VARIANTS
from rayox_platform.config import Config, LoadedConfig, load_config
from rayox_platform.config.explain import show
from rayox_platform.config.settings import settings
from rayox_platform.config.tree import Tracking

PACKAGED = Path(__file__).parents[2] / "jobs" / "rayox" / "recipes"
RECIPES = sorted(path.stem for path in PACKAGED.glob("*.yaml"))


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(recipe: str | None, *overrides: str, **environ: str) -> LoadedConfig:
    return load_config(recipe, overrides, packaged=PACKAGED, environ=environ)


def test_each_source_overrules_the_ones_before_it(in_folder):
    base = ["train:", "  epochs: 101", "  seed: 101", "  batch_size: 104", "  max_failures: 101", "  momentum: 0.1"]
    (in_folder / "base.yaml").write_text("\n".join([*base, "  closing_epochs: 1"]))
    (in_folder / "mine.yaml").write_text(
        "extends: base.yaml\ntrain:\n  epochs: 102\n  seed: 102\n  batch_size: 112\n  max_failures: 102\n"
    )
    environ = {"RAYOX_TRAIN__EPOCHS": "103", "RAYOX_TRAIN__SEED": "103", "RAYOX_TRAIN__BATCH_SIZE": "120"}
    loaded = load("mine.yaml", "train.epochs=104", "train.seed=104", **environ)
    train = loaded.config.train
    found = {
        key: (getattr(train, key), str(loaded.origins[f"train.{key}"]))
        for key in ("weight_decay", "momentum", "max_failures", "batch_size", "seed", "epochs")
    }
    assert found == {
        "weight_decay": (5e-4, "default"),
        "momentum": (0.1, "extends base.yaml:6"),
        "max_failures": (102, "mine.yaml:6"),
        "batch_size": (120, "env RAYOX_TRAIN__BATCH_SIZE"),
        "seed": (104, "command line"),
        "epochs": (104, "command line"),
    }


def test_every_setting_has_an_origin():
    assert set(load("shapes").origins) == {key for key, setting in settings().items() if not setting.is_section}


def test_the_later_of_two_overrides_counts():
    assert load(None, "train.seed=1", "train.seed=2").config.train.seed == 2


def test_reserved_variables_and_other_programs_are_no_settings():
    load(None, RAYOX_STATE="x", RAYOX_ADDRESS="y", RAYOX_DEBUG="1", OTHER="z", RAYOXX="z")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.learning_rate=1e-3", 1e-3),
        ("train.learning_rate=2", 2.0),
        ("train.workers=4", (4, 4)),
        ("train.workers=[1, 4]", (1, 4)),
        ("image_size=416", (416, 416)),
        ("image_size=[320, 640]", (320, 640)),
        ("train.ema.ramp_steps=500", 500.0),
        ("train.ema.ramp_steps=auto", "auto"),
        ("name=2024", "2024"),
        ("name=no", "no"),
        ("name='a: b'", "a: b"),
        ("model.init=@odd: [path #1", "@odd: [path #1"),
        ("model.init=", None),
        ("model.init=null", None),
        ("tracking.uri=http://host:5000", "http://host:5000"),
        ("train.ema={decay: 0.5}", None),
    ],
)
def test_values_are_typed(override, value):
    key = override.partition("=")[0]
    found = load(None, override).config
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value or (key == "train.ema" and found.decay == 0.5)


def test_a_file_takes_text_unquoted_and_yaml_1_2_numbers(in_folder):
    (in_folder / "mine.yaml").write_text("name: 2024\ntrain:\n  learning_rate: 1e-4\nmodel:\n  init: off\n")
    config = load("mine.yaml").config
    assert (config.name, config.train.learning_rate, config.model.init) == ("2024", 1e-4, "off")


def test_empty_files_and_empty_sections_set_nothing(in_folder):
    (in_folder / "empty.yaml").write_text("# nothing\n")
    (in_folder / "half.yaml").write_text("train:\n  # epochs: 3\nmodel:\n")
    assert load("empty.yaml").config == Config(name="empty", tracking=Tracking(model="empty"))
    assert load("half.yaml").config == Config(name="half", tracking=Tracking(model="half"))


def test_the_run_is_named_after_the_recipe_unless_it_says_otherwise(in_folder):
    (in_folder / "mine.yaml").write_text("extends: shapes\n")
    assert load("mine.yaml").config.name == load("mine.yaml").config.tracking.model == "mine"
    assert load("mine.yaml", "name=other").config.name == "other"


def test_extends_is_relative_to_the_file(in_folder):
    (in_folder / "deep").mkdir()
    (in_folder / "deep" / "base.yaml").write_text("train: {seed: 5}\n")
    (in_folder / "deep" / "mine.yaml").write_text("extends: base.yaml\n")
    loaded = load("deep/mine.yaml")
    assert loaded.config.train.seed == 5
    assert str(loaded.origins["train.seed"]) == "extends deep/base.yaml:1"


def test_what_is_shown_reads_back_as_the_same_settings(in_folder):
    loaded = load("coco-nano", "name=odd: 'name' #1", "model.init=- x", "data.val.images=1e3", "storage=null ")
    (in_folder / "shown.yaml").write_text(show(loaded))
    assert load("shown.yaml").config == loaded.config


def test_the_tree_survives_json():
    config = load("coco-tiny", "train.workers=[1, 2]").config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_settings_that_a_verb_needs_are_asked_for():
    loaded = load("scratch", "data.train.annotations=x.json")
    loaded.require("data.train.annotations")
    with pytest.raises(ConfigError, match=r"default  data\.val\.annotations: has no value") as caught:
        loaded.require("data.train.annotations", "data.val.annotations")
    assert caught.value.hint == "give data.val.annotations=…"


def test_the_documented_recipes_are_packaged():
    sizes = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
    assert {"shapes", "finetune", "scratch", *(f"coco-{size}" for size in sizes)} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_packaged_recipes_are_valid_and_say_what_they_are(name):
    config = load(name).config
    assert config.name == name
    header = [line for line in (PACKAGED / f"{name}.yaml").read_text().splitlines() if line.startswith("#")]
    for about in ("command:", "hardware:", "time:", "expected AP:"):
        assert any(line.startswith(f"# {about}") for line in header), f"{name} does not say its {about}"
    if name.startswith("coco-"):
        assert config.model.size == name.removeprefix("coco-")


def test_the_published_recipes_differ_as_published():
    small, nano, tiny = (load(f"coco-{size}").config for size in ("s", "nano", "tiny"))
    assert (small.image_size, tiny.image_size, nano.image_size) == ((640, 640), (416, 416), (416, 416))
    assert (small.augment.mosaic_prob, tiny.augment.mosaic_prob, nano.augment.mosaic_prob) == (1.0, 1.0, 0.5)
    assert (small.augment.mixup_prob, tiny.augment.mixup_prob, nano.augment.mixup_prob) == (1.0, 0.0, 0.0)
    assert small.augment.mosaic_scale == (0.1, 2.0)
    assert tiny.augment.mosaic_scale == nano.augment.mosaic_scale == (0.5, 1.5)
    assert small.train.learning_rate * small.train.batch_size == pytest.approx(0.01)
    for config, reach in ((small, (480, 800)), (tiny, (320, 640)), (nano, (320, 640))):
        smaller, larger = config.train.multi_scale
        assert (config.image_size[0] - 32 * smaller, config.image_size[0] + 32 * larger) == reach


def test_finetune_is_a_short_nano_run():
    config = load("finetune").config
    train = config.train
    assert (config.model.size, config.image_size) == ("nano", (416, 416))
    assert (train.epochs, train.closing_epochs, train.warmup_epochs, train.batch_size) == (15, 3, 1, 8)
    assert (train.optimizer, train.clip_grad_norm) == ("adamw", 20)
    assert (train.ema.ramp_steps, config.data.train.annotations) == ("auto", None)


def test_shapes_needs_no_data():
    data = load("shapes").config.data
    assert (data.train.annotations, data.val.annotations) == ("shapes:train", "shapes:val")


def test_the_tree_knows_every_variant():
    sizes = Config.model_fields["model"].annotation.model_fields["size"].annotation
    assert set(get_args(sizes)) == set(VARIANTS)


def test_recipes_are_plain_yaml():
    for name in RECIPES:
        assert isinstance(yaml.safe_load((PACKAGED / f"{name}.yaml").read_text()), dict)


def phases(*words: str, **environ: str) -> tuple[int, float, int, object]:
    train = load(words[0], *words[1:], **environ).config.train
    return train.epochs, train.warmup_epochs, train.closing_epochs, train.flat_epochs


def test_phases_that_the_user_has_not_set_shrink_with_his_epochs(in_folder):
    assert phases("shapes", "train.epochs=2") == (2, 0.13, 1, 0)  # of 15, with 1 of warm-up and 4 closing ones
    assert phases("coco-s", "train.epochs=30") == (30, 0.5, 2, "closing")
    assert phases("coco-s", RAYOX_TRAIN__EPOCHS="1") == (1, 0.02, 0, "closing")
    (in_folder / "mine.yaml").write_text("extends: finetune\ntrain: {epochs: 1}\n")
    assert phases("mine.yaml") == (1, 0.07, 0, "closing")
    (in_folder / "again.yaml").write_text("extends: mine.yaml\nname: again\n")
    assert phases("again.yaml") == (1, 0.07, 0, "closing")
    (in_folder / "alone.yaml").write_text("train: {epochs: 3}\n")
    assert phases("alone.yaml") == (3, 0.05, 1, "closing")


def test_phases_that_the_user_has_set_stay_and_so_does_everything_in_a_longer_run(in_folder):
    assert phases("shapes", "train.epochs=2", "train.warmup_epochs=1") == (2, 1, 1, 0)
    (in_folder / "mine.yaml").write_text("extends: finetune\ntrain: {closing_epochs: 2}\n")
    assert phases("mine.yaml", "train.epochs=3") == (3, 0.2, 2, "closing")
    assert phases("shapes", "train.epochs=40") == (40, 1, 4, 0)
    assert phases("shapes") == (15, 1, 4, 0)


def test_what_has_shrunk_is_said_in_one_line_and_beside_each_value():
    loaded = load("shapes", "train.epochs=2")
    assert loaded.notes == (
        "train.epochs 2 of the recipe's 15, so with it train.warmup_epochs 1 → 0.13, train.closing_epochs 4 → 1; "
        "set them to have others",
    )
    assert str(loaded.origins["train.closing_epochs"]).endswith("shapes.yaml:13, shrunk with train.epochs")
    assert load("shapes", "train.epochs=15").notes == load("shapes").notes == ()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_every_packaged_recipe_takes_any_number_of_epochs(name, epochs):
    train = load(name, f"train.epochs={epochs}").config.train
    assert train.closing_epochs <= epochs > train.warmup_epochs


MLFLOW = {"MLFLOW_TRACKING_URI": "http://there:5000", "MLFLOW_EXPERIMENT_NAME": "cells"}


def test_variables_of_other_programs_are_defaults(in_folder):
    loaded = load("shapes", **MLFLOW)
    tracking = loaded.config.tracking
    assert (tracking.uri, tracking.experiment) == ("http://there:5000", "cells")
    assert str(loaded.origins["tracking.uri"]) == "environment MLFLOW_TRACKING_URI"
    (in_folder / "mine.yaml").write_text("tracking: {uri: http://recipe}\n")
    assert load("mine.yaml", **MLFLOW).config.tracking.uri == "http://recipe"
    assert load(None, RAYOX_TRACKING__URI="http://mine", **MLFLOW).config.tracking.uri == "http://mine"
    assert load(None, "tracking.uri=", **MLFLOW).config.tracking.uri is None


def test_an_empty_variable_is_an_unset_one():
    tracking = load(None, MLFLOW_TRACKING_URI="", MLFLOW_EXPERIMENT_NAME="").config.tracking
    assert (tracking.uri, tracking.experiment) == (None, "rayox")


@pytest.mark.parametrize(
    ("vain", "counts", "says"),
    [
        (("train.loss_scale.initial=8", "train.precision=bf16"), "train.precision=fp16", "train.precision=fp16"),
        (("train.loss_scale.initial=8", "train.precision=fp32"), "train.precision=auto", "train.precision=fp16"),
        (("train.beta2=0.99", "train.optimizer=sgd"), "train.optimizer=adamw", "train.optimizer=adamw"),
        (("augment.partner_window=8",), "augment.partners=window", "augment.partners=window"),
    ],
)
def test_a_setting_without_effect_is_said(vain, counts, says):
    (note,) = load(None, *vain).notes
    assert note.startswith(f"{vain[0].partition('=')[0]} has no effect: it counts only with {says}, and that is ")
    assert load(None, vain[0], counts).notes == ()


def test_a_recipes_own_setting_without_effect_is_not():
    """Who changes the optimiser of a recipe need not clear what the recipe set for the other."""
    assert load("shapes", "train.optimizer=sgd").notes == ()


def test_variables_that_do_not_count_are_said():
    registry = {"MLFLOW_REGISTRY_URI": "http://bob:hunter2@models"}
    (note,) = load(None, **registry).notes
    assert note == "MLFLOW_REGISTRY_URI is not taken: models are registered where runs are kept (tracking.uri)"
    assert load(None, MLFLOW_TRACKING_URI="http://bob:hunter2@models", **registry).notes == ()
    assert len(load(None, MLFLOW_TRACKING_URI="http://runs", **registry).notes) == 1
    (note,) = load(None, MLFLOW_EXPERIMENT_ID="7").notes
    assert "tracking.experiment or MLFLOW_EXPERIMENT_NAME" in note
    assert load(None, MLFLOW_EXPERIMENT_ID="7", MLFLOW_EXPERIMENT_NAME="cells").notes == ()
    assert load(None, "tracking.experiment=cells", MLFLOW_EXPERIMENT_ID="7").notes == ()
