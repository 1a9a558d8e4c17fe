"""A campaign's file: what is wrong with it is said with its line, and what is right is a typed campaign."""

from pathlib import Path

import pytest

from rayox_model.core.errors import ConfigError
from rayox_platform.tune.campaign_file import LoadedCampaign, load_campaign
from rayox_platform.tune.space_check import with_values

JOBS = Path(__file__).resolve().parents[2] / "jobs" / "rayox"
GOOD = """
recipe: shapes
set:
  train.epochs: 6
  train: {closing_epochs: 2}
space:
  assigner.top_k: {int: [5, 20]}
  train.beta2: {float: [0.9, 0.99], when: {train.optimizer: adamw}}
  train.optimizer: {choice: [sgd, adamw]}
constraints: [loss.iou >= loss.classification]
metrics: AP50
search: gp
schedule: {kind: asha, eta: 2}
budget: 12
"""


def load(text: str, folder: Path, *overrides: str, environ: dict[str, str] | None = None) -> LoadedCampaign:
    file = folder / "mine.yaml"
    file.write_text(text)
    return load_campaign(
        str(file), overrides, packaged=JOBS / "campaigns", recipes=JOBS / "recipes", environ=environ or {}
    )


def refused(text: str, folder: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, folder, *overrides)
    return caught.value.message.replace(f"{folder}/", "").splitlines()


def test_a_campaign_is_read_with_its_recipe(tmp_path):
    found = load(GOOD, tmp_path, "budget.trials=4", "train.epochs=9", "search.seed=3")
    campaign = found.campaign
    assert (campaign.name, campaign.budget.trials, campaign.search.kind, campaign.search.seed) == ("mine", 4, "gp", 3)
    assert campaign.metrics == {"AP50": "max"}
    assert [one.key for one in campaign.dimensions] == ["assigner.top_k", "train.optimizer", "train.beta2"]
    assert (found.base.config.train.epochs, found.base.config.train.closing_epochs) == (9, 2)
    assert found.base.config.image_size == (224, 224)
    assert found.given == {"budget.trials", "search.seed", "train.epochs"}
    assert found.named("other").campaign.name == "other"


def test_the_environment_lies_between_the_file_and_the_command_line(tmp_path):
    variables = {"RAYOX_TRAIN__EPOCHS": "7", "RAYOX_TRAIN__CLOSING_EPOCHS": "3"}
    found = load(GOOD, tmp_path, "train.closing_epochs=1", environ=variables).base.config
    assert (found.train.epochs, found.train.closing_epochs) == (7, 1)


def test_a_campaign_extends_another(tmp_path):
    (tmp_path / "parent.yaml").write_text(GOOD)
    child = "extends: parent.yaml\nspace:\n  loss.iou: {log: [1, 10]}\nschedule: {eta: 4}\nset: {train.epochs: 8}\n"
    found = load(child, tmp_path)
    assert set(found.campaign.space) == {"assigner.top_k", "train.beta2", "train.optimizer", "loss.iou"}
    assert (found.campaign.schedule.kind, found.campaign.schedule.eta) == ("asha", 4)
    assert (found.base.config.train.epochs, found.base.config.train.closing_epochs) == (8, 2)


@pytest.mark.parametrize("name", [path.stem for path in sorted((JOBS / "campaigns").glob("*.yaml"))])
def test_packaged_campaigns_are_right_and_say_how_they_are_run(name):
    given = ("model.init=w", "data.train.annotations=a", "data.val.annotations=b") if name == "finetune" else ()
    found = load_campaign(name, given, packaged=JOBS / "campaigns", recipes=JOBS / "recipes", environ={})
    assert found.campaign.name == name
    header = (JOBS / "campaigns" / f"{name}.yaml").read_text().partition("\nrecipe:")[0]
    assert {f"# command:  rayox tune {name}", "# hardware", "# time"} <= {
        part for line in header.splitlines() for part in (line.partition(" model.init")[0], line.partition(":")[0])
    }


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("assigner.top_k:", "assigner.topk:", "7  space.assigner.topk: no such setting; did you mean assigner.top_k?"),
        ("assigner.top_k:", "assigner:", "7  space.assigner: is a section; name one of its settings"),
        ("assigner.top_k:", "train.seed:", "7  space.train.seed: cannot be searched: it is the same for all trials "),
        ("{int: [5, 20]}", "{int: [0, 20]}", "7  space.assigner.top_k: 0 is not a whole number ≥ 1"),
        ("{int: [5, 20]}", "{int: [20, 5]}", "7  space.assigner.top_k: int: [20, 5] has its larger end first; "),
        ("{int: [5, 20]}", "{float: [5, 20]}", "7  space.assigner.top_k: takes whole numbers ≥ 1; write {int: [low, "),
        ("{int: [5, 20]}", "{int: [5.5, 20]}", "7  space.assigner.top_k: int: [5.5, 20] are not whole numbers"),
        ("{int: [5, 20]}", "{log: [0, 20]}", "7  space.assigner.top_k: log: 0 is not above 0"),
        ("{int: [5, 20]}", "{int: 5}", "7  space.assigner.top_k: int: 5 is not [low, high]"),
        ("{int: [5, 20]}", "5", "7  space.assigner.top_k: is not one of {float: [low, high]}"),
        ("{int: [5, 20]}", "{int: [5, 9], step: 2}", "7  space.assigner.top_k: has 'step', which is neither a range"),
        (
            "assigner.top_k: {int: [5, 20]}",
            "image_size: {int: [32, 96]}",
            "7  space.image_size: 40 is not a multiple of 32",
        ),
        (
            "{train.optimizer: adamw}}",
            "{loss.iou: 5}}\n  loss.iou: {float: [4, 6]}",
            "8  space.train.beta2: when: loss.iou is searched in a range, of which no value returns",
        ),
        ("search: gp", "search: {kind: grid, points: 90000}", "12  search: a grid of 2,880,000 points"),
        ("[sgd, adamw]", "[sgd, adam]", "9  space.train.optimizer: 'adam' is not one of sgd, adamw"),
        ("[sgd, adamw]", "[sgd, sgd]", "9  space.train.optimizer: choice: one of them stands there twice"),
        ("train.optimizer: adamw}", "train.optimiser: adamw}", "8  space.train.beta2: when: train.optimiser is not"),
        ("train.optimizer: adamw}", "train.optimizer: lion}", "8  space.train.beta2: when: train.optimizer is never"),
        ("loss.iou >=", "loss.iuo >=", "10  loss.iuo: no such setting; did you mean loss.iou?"),
        ("loss.iou >= loss.classification", "big", "10  constraints: 'big' is not `KEY <= KEY` or `KEY > NUMBER`"),
        (
            "loss.iou >= loss.classification",
            "train.optimizer < sgd",
            "10  constraints: 'train.optimizer < sgd': < compares numbers",
        ),
        (
            "loss.iou >= loss.classification",
            "loss.iou == big",
            "10  constraints: 'loss.iou == big': big is not a setting; if it is text, write loss.iou == 'big'",
        ),
        ("metrics: AP50", "metrics: APP", "11  metrics: 'APP' is not measured; did you mean AP?"),
        ("metrics: AP50", "metrics: parameters", "11  metrics: parameters is not known before the end"),
        ("metrics: AP50", "metrics: {AP50: max, AP50: min}", "11  metrics.AP50: given twice, first in line 11"),
        (
            "[sgd, adamw]}",
            "[sgd, adamw]}\n  assigner.top_k: {int: [5, 9]}",
            "10  space.assigner.top_k: given twice, first in",
        ),
        ("search: gp", "search: gb", '12  search.kind: "gb" is not one of random, grid, tpe, gp, nsga2'),
        ("eta: 2", "eta: 1", "13  schedule.eta: 1 is not a number > 1"),
        ("eta: 2", "etas: 2", "13  schedule.etas: no such setting of a campaign; did you mean schedule.eta?"),
        ("eta: 2", "min_epochs: 7", "13  schedule.min_epochs: 7 is more than train.epochs 6"),
        ("eta: 2", "rungs: [3, 2]", "13  schedule.rungs: [3, 2] do not rise up to train.epochs 6"),
        ("budget: 12", "budget: {trial: 12}", "14  budget.trial: no such setting of a campaign; did you mean "),
        ("budget: 12", "budget: {cost: 12}", "14  budget.cost: needs price.node_hour"),
        ("budget: 12", "stop_when: -1", "14  stop_when.expected_gain: -1 is not a number ≥ 0"),
        ("budget: 12", "stop_when: {gains: 1}", "14  stop_when.gains: no such setting of a campaign; did you mean"),
        (
            "metrics: AP50",
            "metrics: {AP: max, parameters: min}\nstop_when: {below_noise: true}",
            "12  stop_when.below_noise: takes one metric; use no_gain_for",
        ),
        ("budget: 12", "bugdet: 12", "14  bugdet: no such setting of a campaign; did you mean budget?"),
        ("train.epochs: 6", "train.epocs: 6", "4  train.epocs: no such setting; did you mean train.epochs?"),
        ("train.epochs: 6", "train.epochs: six", "4  train.epochs: 'six' is not a whole number ≥ 1"),
        (
            "set:\n  train.epochs: 6\n  train: {closing_epochs: 2}\n",
            "set: 3\n",
            "3  set: takes settings of the recipe, one `key: value` a line, not a value",
        ),
        ("recipe: shapes", "recipe: shape", "2  recipe: no such recipe; did you mean shapes?"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, old, new, line):
    assert old in GOOD
    lines = refused(GOOD.replace(old, new), tmp_path)
    assert any(found.startswith(f"mine.yaml:{line}") for found in lines), lines


def test_everything_wrong_is_said_at_once_also_on_the_command_line(tmp_path):
    text = GOOD.replace("top_k:", "topk:").replace("epochs: 6", "epocs: 6")
    lines = refused(text, tmp_path, "budget.trials=none", "train.seed=x", "search.sed=1")
    assert [line.partition("  ")[0] for line in lines] == ["mine.yaml:7", "mine.yaml:4", *["command line"] * 3]


def test_settings_that_do_not_go_together_are_found_before_any_trial(tmp_path):
    text = GOOD.replace("assigner.top_k: {int: [5, 20]}", "train.closing_epochs: {int: [0, 8]}")
    wrong = "mine.yaml:7  space.train.closing_epochs: train.closing_epochs 8 is more than train.epochs 6; use"
    assert refused(text, tmp_path)[0].startswith(wrong)
    circle = GOOD.replace("{choice: [sgd, adamw]}", "{choice: [sgd, adamw], when: {train.beta2: 0.9}}")
    assert any("conditions go in a circle" in line for line in refused(circle, tmp_path))


def test_kinds_of_a_section_are_searched_with_the_settings_that_each_has(tmp_path):
    space = "assigner.kind: {choice: [simota, fcos]}\n  assigner.top_k: {int: [5, 20], when: {assigner.kind: simota}}"
    found = load(GOOD.replace("assigner.top_k: {int: [5, 20]}", space), tmp_path)
    assert with_values(found.base.config, {"assigner.kind": "fcos"}).assigner.kind == "fcos"
    chosen = with_values(found.base.config, {"assigner.top_k": 7, "assigner.kind": "simota"}).assigner
    assert (chosen.kind, chosen.top_k) == ("simota", 7)


def test_files_that_are_none_are_refused(tmp_path):
    assert "not readable as YAML" in refused("space: [", tmp_path)[0]
    assert "a campaign is settings" in refused("- a", tmp_path)[0]
    assert "names no setting to search" in refused("recipe: shapes\n", tmp_path)[0]
    with pytest.raises(ConfigError, match="no such campaign; did you mean simota"):
        load_campaign("simot", (), packaged=JOBS / "campaigns", recipes=JOBS / "recipes", environ={})
    assert refused("# nothing\n", tmp_path)[0].startswith("mine.yaml  space: names no setting to search")


@pytest.mark.parametrize("rule", ["train.optimizer == sgd", "train.optimizer == 'sgd'", 'train.optimizer != "adamw"'])
def test_a_constraint_compares_with_a_text_in_quotes_or_with_a_choice_as_it_stands(tmp_path, rule):
    (found,) = load(GOOD.replace("loss.iou >= loss.classification", f"{rule!r}"), tmp_path).campaign.rules
    assert found.holds({"train.optimizer": "sgd"})
    assert not found.holds({"train.optimizer": "adamw"})
    assert found.keys == ["train.optimizer"]


def test_true_and_false_are_choices_as_well(tmp_path):
    text = GOOD.replace("train.optimizer: {choice: [sgd, adamw]}", "train.compile: {choice: [false, true]}")
    text = text.replace(", when: {train.optimizer: adamw}", "").replace(
        "loss.iou >= loss.classification", "train.compile == false"
    )
    (found,) = load(text, tmp_path).campaign.rules
    assert found.holds({"train.compile": False})
    assert str(found) == "train.compile == false"


@pytest.mark.parametrize(
    ("rule", "search", "part"),
    [
        (
            "assigner.top_k > 20",
            "tpe",
            "'assigner.top_k > 20' holds at none of 1000 points drawn over the space; widen",
        ),
        ("assigner.top_k > 20", "grid", "'assigner.top_k > 20' holds at none of the grid's"),
        ("loss.iou <= 1", "tpe", "(loss.iou is 5.0 in the recipe); widen the space or drop it"),
        ("train.beta2 <= 0.90001", "random", "'train.beta2 <= 0.90001' holds at "),
    ],
)
def test_constraints_that_no_values_fulfil_are_refused_before_anything_is_trained(tmp_path, rule, search, part):
    text = GOOD.replace("loss.iou >= loss.classification", rule).replace("search: gp", f"search: {search}")
    text = text.replace(", when: {train.optimizer: adamw}", "")
    (line,) = refused(text, tmp_path)
    assert line.startswith("mine.yaml:10  constraints: ")
    assert part in line


def test_constraints_that_exclude_each_other_are_refused_together(tmp_path):
    text = GOOD.replace("loss.iou >= loss.classification", "assigner.top_k > 12, assigner.top_k < 10")
    (line,) = refused(text, tmp_path)
    assert "'assigner.top_k > 12' and 'assigner.top_k < 10' hold at none of 1000 points" in line


def test_a_constraint_on_a_setting_that_the_recipe_leaves_unset_is_looked_at_where_the_space_gives_it(tmp_path):
    space = "train.clip_grad_norm: {log: [5, 50]}\n  assigner.top_k:"
    text = GOOD.replace("assigner.top_k:", space).replace(
        "loss.iou >= loss.classification", "train.clip_grad_norm > 20"
    )
    (rule,) = load(text, tmp_path).campaign.rules
    assert rule.holds({"train.clip_grad_norm": 30})
    assert not rule.holds({"train.clip_grad_norm": 10})
    text = GOOD.replace("loss.iou >= loss.classification", "train.clip_grad_norm > 20")
    assert refused(text, tmp_path) == ["mine.yaml:10  constraints: train.clip_grad_norm has no value in the recipe"]


def test_a_constraint_on_a_setting_of_one_kind_does_not_speak_of_the_others(tmp_path):
    space = "assigner.kind: {choice: [fcos, simota]}\n  assigner.top_k: {int: [5, 20], when: {assigner.kind: simota}}"
    text = GOOD.replace("assigner.top_k: {int: [5, 20]}", space).replace("train.epochs: 6", "assigner.kind: fcos")
    (rule,) = load(text.replace("loss.iou >= loss.classification", "assigner.top_k <= 12"), tmp_path).campaign.rules
    assert rule.holds({"assigner.kind": "fcos"})
    assert not rule.holds({"assigner.kind": "simota", "assigner.top_k": 15})


def test_the_name_of_a_campaign_is_given_as_any_other_of_its_settings(tmp_path):
    found = load(GOOD, tmp_path, "name=other")
    assert found.campaign.name == "other"
    assert found.named("third").campaign.name == "third"
    assert any("name: 5 is not text" in line for line in refused(GOOD, tmp_path, "name=5"))
