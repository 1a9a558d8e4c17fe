"""`rayox tune` short of training: the plan, what is refused with which code, and what is said of no campaign."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rayox_platform.data.resolve import resolve_split
from rayox_platform.runs.run_lock import claimed
from rayox_platform.tune.campaign import Confirm
from rayox_platform.tune.split import parts


@pytest.fixture
def tune(rayox, toy_data):
    """Campaign simota on the toy data; it must not come as far as starting Ray."""
    images = toy_data / "images"
    data = [f"data.{split}.{key}" for split in ("train", "val") for key in ("annotations", "images")]
    values = (toy_data / "train.json", images, toy_data / "val.json", images)
    given = [f"{key}={value}" for key, value in zip(data, values, strict=True)]

    def run(*more: object):
        return rayox("tune", "simota", *given, "image_size=64", *more, "--json")

    return run


def test_the_plan_is_one_json_object(tune):
    said = tune("--plan", "budget.trials=1000")
    assert said.exit_code == 0
    assert {"concurrency", "trials", "waves", "hours", "fits", "cost", "epochs"} <= set(said.result)
    assert (said.result["trials"], said.result["fits"]) == (1000, True)
    assert said.result["waves"] * said.result["concurrency"] >= 1000
    assert "1000 trials of about" in said.err


def test_a_plan_of_one_trial_is_in_the_singular(tune):
    said = tune("--plan", "budget.trials=1", "train.epochs=1", "train.closing_epochs=0", "train.warmup_epochs=0")
    assert "1 trial of about 1 epoch in all, 1 at a time in 1 wave, and" in said.err


@pytest.mark.slow
def test_a_plan_takes_no_package_that_only_a_training_needs(toy_data, tmp_path):
    """Torch alone takes two seconds to import; the plan of a thousand trials is wanted within one."""
    given = [f"data.{split}.annotations={toy_data / split}.json" for split in ("train", "val")]
    given += [f"data.{split}.images={toy_data / 'images'}" for split in ("train", "val")]
    arguments = ["tune", "simota", *given, "image_size=64", "budget.trials=1000", "--plan"]
    code = f"import sys; from rayox.cli import main; main({arguments!r}); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "1000 trials of about" in done.stderr + done.stdout
    loaded = set(done.stdout.split())
    assert "rayox_platform.tune.planner" in loaded
    assert not loaded & {"torch", "ray", "mlflow", "optuna", "pandas", "scipy", "sklearn", "matplotlib", "hotcoco"}


@pytest.mark.parametrize(
    ("more", "code", "part"),
    [
        (("search=tpee",), 2, 'search.kind: "tpee" is not one of'),
        (("budget.trial=4",), 2, "did you mean budget.trials?"),
        (("train.epocs=4",), 2, "did you mean train.epochs?"),
        (("space.assigner.top_k={int: [0, 5]}",), 2, "space.assigner.top_k: 0 is not a whole number"),
        (("--resume",), 2, "--resume: there is no campaign simota"),
        (("--extend", "3"), 2, "--extend: there is no campaign simota"),
        (("--warm-from", "other"), 2, "other: no such campaign"),
        (("--name", "a/b"), 2, "cannot be a campaign's name"),
        (("data.val.annotations=none.json", "--plan"), 3, "none.json"),
        (("model.init=none.pth", "--plan"), 4, "none.pth: no such model"),
        (("train.cpus_per_worker=999", "--plan"), 6, "no machine has 999 CPUs"),
    ],
)
def test_what_cannot_be_is_one_message_with_its_code(tune, more, code, part):
    said = tune(*more)
    assert said.exit_code == code
    assert part in said.result["error"]["message"]
    assert said.err.count("error:") == 1
    assert "Traceback" not in said.err


def test_where_mlflow_does_not_answer_no_campaign_begins(tune, monkeypatch):
    """It would be listed as dead."""
    Path("file").touch()
    monkeypatch.setattr("rayox_cluster.local.ray_session", lambda *given, **named: pytest.fail("it would train"))
    said = tune("tracking.uri=sqlite:///file/mlflow.db")
    assert said.exit_code == 9
    assert not list(Path(".rayox").rglob("ledger*"))


def test_an_unknown_campaign_is_named_with_the_nearest(rayox):
    said = rayox("tune", "simoto", "--json")
    assert said.exit_code == 2
    assert "did you mean simota?" in said.result["error"]["message"]


def test_a_second_driver_is_refused(tune, tmp_path):
    with claimed(tmp_path / "work" / ".rayox" / "campaigns" / "simota"):
        said = tune()
    assert said.exit_code == 2
    assert "campaign simota is being driven by process" in said.result["error"]["message"]


def test_without_a_campaign_there_is_nothing_to_list_or_show(rayox):
    assert rayox("tune", "list", "--json").result == {"campaigns": []}
    for verb in (("status", "mine"), ("stop", "mine"), ("report", "mine"), ("apply", "mine", "-o", "x.yaml")):
        said = rayox("tune", *verb, "--json")
        assert said.exit_code == 2
        assert "mine: no such campaign" in said.result["error"]["message"]


@pytest.fixture
def plan(rayox, cases):
    """The plan of a campaign on two of the small cases, whose images lie beside them."""

    def run(train: str, val: str, *more: object):
        folders = {split: cases / Path(file).with_suffix("") for split, file in (("train", train), ("val", val))}
        given = [f"data.{split}.annotations={cases / file}" for split, file in (("train", train), ("val", val))]
        for split, folder in folders.items():
            given.append(f"data.{split}.images={folder if folder.is_dir() else folder.parent / 'images'}")
        return rayox("tune", "simota", *given, "image_size=64", *more, "--json")

    return run


@pytest.mark.parametrize("more", [("--plan",), ()])
def test_a_campaign_that_has_nothing_to_train_on_is_refused_at_once(plan, more):
    said = plan("allcrowd/coco.json", "emptyval/train.json", *more)
    assert said.exit_code == 3
    assert "allcrowd/coco.json: nothing to train on: of 12 annotations 12 are crowds" in said.err
    assert not list(Path(".rayox").rglob("ledger*"))


def test_a_campaign_on_other_classes_than_it_is_measured_on_is_refused_at_once(plan, tmp_path, cases):
    coco = json.loads((cases / "emptyval/train.json").read_text())
    (tmp_path / "val.json").write_text(
        json.dumps(coco | {"categories": [*coco["categories"], {"id": 99, "name": "x"}]})
    )
    said = plan("emptyval/train.json", "emptyval/train.json", f"data.val.annotations={tmp_path / 'val.json'}", "--plan")
    assert said.exit_code == 3
    assert "val.json: its classes" in said.err


def test_what_cannot_be_scored_is_warned_of(plan):
    said = plan("allcrowd/one_class.json", "emptyval/val.json", "--plan")
    assert said.exit_code == 0
    assert "warning: " in said.err
    assert "one_class.json: class 'disc' cannot be learned" in said.err
    assert "emptyval/val.json: no boxes: nothing to find, so there is no AP, and no trial gets a score" in said.err


@pytest.mark.parametrize(("part", "so"), [("search", "no trial gets an AP"), ("confirm", "nothing can be confirmed")])
def test_a_part_of_the_val_images_without_boxes_is_warned_of(plan, cases, tmp_path, part, so):
    coco = json.loads((cases / "emptyval/train.json").read_text())
    dataset = resolve_split(str(cases / "emptyval/train.json"), str(cases / "emptyval/train"), tmp_path)[0]
    emptied = {int(dataset.image_ids[index]) for index in parts(dataset, Confirm())[part]}
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] not in emptied]
    (tmp_path / "val.json").write_text(json.dumps(coco))
    given = ("emptyval/train.json", "emptyval/train.json", f"data.val.annotations={tmp_path / 'val.json'}", "--plan")
    said = plan(*given)
    assert said.exit_code == 0
    assert f"no boxes in the {len(emptied)} of {len(dataset)} images that the {part}" in said.err
    assert so in said.err
    assert "no boxes" not in plan(*given, "confirm.top=0").err


def test_the_plan_is_for_the_cluster_of_ray_address(tune, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    said = tune("--plan")
    assert said.exit_code == 6
    assert "no Ray cluster answers at 127.0.0.1:1 (RAY_ADDRESS)" in said.result["error"]["message"]
    assert tune("--plan", "--address", "local").exit_code == 0
