"""What is wrong with settings is said with file and line, all of it at once."""

from pathlib import Path

import pytest

from rayox_model.core.errors import ConfigError
from rayox_platform.config import Config, load_config

PACKAGED = Path(__file__).parents[2] / "jobs" / "rayox" / "recipes"


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(recipe: str | None, *overrides: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(recipe, overrides, packaged=PACKAGED, environ=environ)
    return caught.value.message.splitlines()


def in_file(text: str) -> list[str]:
    Path("coco_s.yaml").write_text(text)
    return findings("coco_s.yaml")


def test_all_findings_come_at_once_in_the_order_of_their_lines():
    text = "model:\n  size: xl\ntrain:\n  epocs: 3\n  batch_size: many\nimage_size: 400\ncheckpoint: 3\ntrian: {a: 1}\n"
    Path("coco_s.yaml").write_text(text)
    assert findings("coco_s.yaml", "train.epocs=3", RAYOX_TRAIN__EPOCS="3") == [
        "coco_s.yaml:2  model.size: 'xl' is not one of nano, tiny, s, m, l, x, darknet53",
        "coco_s.yaml:4  train.epocs: no such setting; did you mean train.epochs?",
        "coco_s.yaml:5  train.batch_size: 'many' is not a whole number ≥ 1",
        "coco_s.yaml:6  image_size: 400 is not a multiple of 32; use 384 or 416",
        "coco_s.yaml:7  checkpoint: takes settings of its own (every_steps, every_minutes, keep), not a value",
        "coco_s.yaml:8  trian: no such setting; did you mean train?",
        "env RAYOX_TRAIN__EPOCS  train.epocs: no such setting; did you mean RAYOX_TRAIN__EPOCHS?",
        "command line  train.epocs: no such setting; did you mean train.epochs?",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=true", "train.epochs: true is not a whole number ≥ 1"),
        ("train.epochs=0", "train.epochs: 0 is not a whole number ≥ 1"),
        ("train.epochs=2.5", "train.epochs: 2.5 is not a whole number ≥ 1"),
        ("train.epochs=", "train.epochs: null is not a whole number ≥ 1"),
        ("train.learning_rate=.nan", "train.learning_rate: '.nan' is not a number > 0"),
        ("eval.nms_threshold=1.5", "eval.nms_threshold: 1.5 is not a number ≥ 0, ≤ 1"),
        ("train.ema.ramp_steps=x", "train.ema.ramp_steps: 'x' is not a number > 0 or auto"),
        ("train.workers=[a, 2]", 'train.workers: ["a", 2] is not a whole number ≥ 1 or [a, b] of two such'),
        ("train.workers=[1, 2, 3]", "train.workers: [1, 2, 3] is not a whole number ≥ 1 or [a, b] of two such"),
        ("image_size=[416, 400]", "image_size: 400 is not a multiple of 32; use 384 or 416"),
        ("augment.mosaic_prob=2", "augment.mosaic_prob: 2 is not a number ≥ 0, ≤ 1"),
        ("augment.mosaic_scale=[2, 1]", "augment.mosaic_scale: the range (2.0, 1.0) has its upper end first"),
        ("augment.mosaic=1", "augment.mosaic: no such setting; did you mean augment.mosaic_prob?"),
        ("assigner.kind=atss", "assigner.kind: 'atss' is not one of simota, fcos"),
        ("epochs=3", "epochs: no such setting; did you mean train.epochs?"),
        ("train.zzzz=3", "train.zzzz: no such setting"),
        ("train=3", "train: takes settings of its own"),
        ("train={epocs: 3}", "train.epocs: no such setting; did you mean train.epochs?"),
        ("train.workers=[1", "train.workers: '[1' is not readable as YAML"),
        ("train.epochs", "train.epochs: has no value; write key=value"),
        ("=3", "'': no such setting"),
        ("extends=shapes", "extends: no such setting"),
        ("name=", "name: null is not text"),
    ],
)
def test_an_override_is_refused(override, message):
    (found,) = findings(None, override)
    assert found.startswith(f"command line  {message}")


def test_a_variable_is_refused():
    assert findings(None, RAYOX_ADRESS="x") == [
        "env RAYOX_ADRESS  adress: no such setting; did you mean RAYOX_ADDRESS?"
    ]
    assert findings(None, RAYOX_TRAIN__EPOCHS="x") == [
        "env RAYOX_TRAIN__EPOCHS  train.epochs: 'x' is not a whole number ≥ 1"
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train.batch_size=12"],
            "train.batch_size: 12 is not a multiple of data.lanes 8; use train.batch_size=8 or 16",
        ),
        (
            ["data.lanes=3"],
            "data.lanes: train.batch_size 64 is not a multiple of data.lanes 3; use train.batch_size=63 or 66",
        ),
        (["train.batch_size=4"], "train.batch_size: 4 is not a multiple of data.lanes 8; use train.batch_size=8"),
        (["train.workers=[4, 2]"], "train.workers: [4, 2] has its larger end first; use train.workers=[2, 4]"),
        (
            ["train.workers=[1, 16]"],
            "train.workers: 16 is more than data.lanes 8, and each needs a lane; "
            "use train.workers=8 at most, or data.lanes=16",
        ),
        (  # 9 lanes would not share 64 images
            ["train.workers=9"],
            "train.workers: 9 is more than data.lanes 8, and each needs a lane; "
            "use train.workers=8 at most, or data.lanes=16",
        ),
        (
            ["train.workers=9", "train.batch_size=8"],
            "train.workers: 9 is more than data.lanes 8, and each needs a lane; "
            "use train.workers=8 at most, or train.batch_size=9 and data.lanes=9",
        ),
        (
            ["train.accumulate=24", "train.workers=3"],
            "train.accumulate: 24 is more than the 16 images that a worker has of train.batch_size 64 "
            "with train.workers 3; use train.accumulate=16 at most",
        ),
        (["train.accumulate=65"], "train.accumulate: 65 is more than the 64 images that a worker has"),
        (
            ["train.freeze=backbone"],
            "train.freeze: backbone keeps what model.init has learnt, and that is unset; "
            "name weights to start from, or use train.freeze=none",
        ),
        (["train.batch_norm=frozen"], "train.batch_norm: frozen keeps what model.init has learnt, and that is unset"),
        (["train.closing_epochs=301"], "train.closing_epochs: 301 is more than train.epochs 300"),
        (["train.epochs=5", "train.closing_epochs=6"], "train.closing_epochs: 6 is more than train.epochs 5"),
        (["train.epochs=5", "train.warmup_epochs=5"], "train.warmup_epochs: 5 is not less than train.epochs 5"),
        (["train.flat_epochs=301"], "train.flat_epochs: 301 is more than train.epochs 300"),
    ],
)
def test_settings_that_do_not_go_together(overrides, message):
    (found,) = findings(None, *overrides)
    assert found.startswith(f"command line  {message}")


@pytest.mark.parametrize("workers", [3, [1, 5], 8])
def test_any_number_of_workers_up_to_the_lanes_is_allowed(workers):
    Config.model_validate({"train": {"workers": workers, "accumulate": 8}})


def test_every_conflict_is_named():
    phases = ["train.closing_epochs=2", "train.warmup_epochs=1"]
    found = findings("shapes", "train.epochs=1", "train.batch_size=4", *phases)
    assert [line.split(":")[0].removeprefix("command line  ") for line in found] == [
        "train.batch_size",
        "train.closing_epochs",
        "train.warmup_epochs",
    ]


def test_a_conflict_within_a_file_has_its_line():
    (found,) = in_file("extends: shapes\ntrain:\n  batch_size: 12\n")
    assert found.startswith("coco_s.yaml:3  train.batch_size: 12 is not a multiple")


def test_a_doubled_key():
    assert in_file("train:\n  seed: 1\nname: a\ntrain:\n  seed: 2\n") == [
        "coco_s.yaml:4  train: given twice, first in line 1"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  epochs: [1\n", "coco_s.yaml:3  not readable as YAML: "),
        ("train:\n\tepochs: 1\n", "coco_s.yaml:2  not readable as YAML: "),
        ("name: a\n---\nname: b\n", "coco_s.yaml:2  not readable as YAML: "),
        ("name: &a b\nstorage: *a\n", "coco_s.yaml:2  not readable as YAML: aliases are not allowed"),
        ("train: !!python/object:os.system {}\n", "coco_s.yaml:1  train: takes settings of its own"),
        ("- a\n", "coco_s.yaml:1  a recipe is settings"),
        ("just words\n", "coco_s.yaml:1  a recipe is settings"),
        ("train:\n  epochs: !!binary aGk=\n", "coco_s.yaml:2  train.epochs: not readable as YAML: the tag"),
        ("1: a\n", "coco_s.yaml:1  1: no such setting"),
        ("[a, b]: c\n", "coco_s.yaml:1  ['a', 'b']: no such setting"),
        ("name: \x01\n", "coco_s.yaml  not readable as YAML: "),
    ],
)
def test_a_file_that_is_no_recipe(text, message):
    (found,) = in_file(text)
    assert found.startswith(message)


def test_bytes_that_are_no_text():
    Path("coco_s.yaml").write_bytes(b"name: \xff\xfe")
    assert findings("coco_s.yaml")[0].startswith("coco_s.yaml  not readable: ")


def test_a_file_that_is_not_there():
    Path("coco_s.yaml").write_text("")
    assert findings("coco_x.yaml") == ["recipe 'coco_x.yaml': no such file; did you mean coco_s.yaml?"]
    assert findings("nowhere/deep/a.yaml") == ["recipe 'nowhere/deep/a.yaml': no such file"]
    assert findings("coco_s") == ["recipe 'coco_s': no such recipe; did you mean coco-s?"]


def test_a_name_that_is_not_packaged():
    assert findings("shape") == ["recipe 'shape': no such recipe; did you mean shapes?"]
    assert findings("zzz")[0].startswith("recipe 'zzz': no such recipe; packaged are coco, ")


def test_extending_what_is_not_there():
    assert in_file("name: a\nextends: coco-xs\n") == [
        "coco_s.yaml:2  extends: 'coco-xs': no such recipe; did you mean coco-x?"
    ]
    assert in_file("extends: ./other.yaml\n") == ["coco_s.yaml:1  extends: './other.yaml': no such file"]
    assert in_file("extends: [a, b]\n") == ["coco_s.yaml:1  extends: takes the name or path of one recipe, once"]


def test_recipes_that_extend_each_other():
    Path("a.yaml").write_text("extends: b.yaml\n")
    Path("b.yaml").write_text("\nextends: ./a.yaml\n")
    assert findings("a.yaml") == ["b.yaml:2  extends: recipes extend each other in a circle: a.yaml → b.yaml → a.yaml"]
    assert findings("b.yaml")[0].startswith("a.yaml:1  extends: recipes extend each other")


def test_a_finding_in_an_extended_file_has_that_file():
    Path("base.yaml").write_text("train:\n  epocs: 3\n  seed: -1\n")
    assert in_file("extends: base.yaml\n") == [
        "base.yaml:2  train.epocs: no such setting; did you mean train.epochs?",
        "base.yaml:3  train.seed: -1 is not a whole number ≥ 0, < 4294967296",
    ]
