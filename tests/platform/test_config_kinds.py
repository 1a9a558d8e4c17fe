"""A section that is one of several kinds, as the assigner: how one is chosen, and what does not go with it."""

from pathlib import Path

import pytest

from rayox_model.assign.fcos_settings import FCOS
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.errors import ConfigError
from rayox_platform.config import Config, load_config
from rayox_platform.config.explain import explain, explain_json, show
from rayox_platform.config.settings import json_schema

OF_ANOTHER = "is a setting of assigner.kind {}, and assigner.kind is {}"


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("assigner:\n  center_radius: 2.0\n  top_k: 5\n")
    Path("other.yaml").write_text("assigner: {kind: fcos, level_reach: 6}\n")


def load(recipe, *overrides, **environ):
    return load_config(recipe, overrides, packaged=Path("none"), environ=environ)


def test_a_kind_chosen_over_a_recipe_takes_of_it_what_it_has():
    assert load("mine.yaml").config.assigner == SimOTA(center_radius=2.0, top_k=5)
    assert load("mine.yaml", "assigner.kind=fcos").config.assigner == FCOS(center_radius=2.0)
    assert load("mine.yaml", RAYOX_ASSIGNER__KIND="fcos").config.assigner == FCOS(center_radius=2.0)
    assert load("other.yaml").config.assigner == FCOS(level_reach=6.0)
    assert load("other.yaml", "assigner.kind=simota", "assigner.top_k=7").config.assigner == SimOTA(top_k=7)
    assert load(None).config.assigner == SimOTA()


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("other.yaml", "assigner.top_k=7", f"assigner.top_k: {OF_ANOTHER.format('simota', 'fcos')}"),
        (None, "assigner.level_reach=7", f"assigner.level_reach: {OF_ANOTHER.format('fcos', 'simota')}"),
        ("other.yaml", "assigner.level_reach=0", "assigner.level_reach: 0 is not a number ≥ 1"),
        ("other.yaml", "assigner.kind=atss", "assigner.kind: 'atss' is not one of simota, fcos"),
    ],
)
def test_what_does_not_go_with_the_kind_is_refused(recipe, override, message):
    with pytest.raises(ConfigError) as refused:
        load(recipe, override)
    assert refused.value.message == f"command line  {message}"


def test_a_file_that_mixes_kinds_is_refused_with_its_line():
    Path("mixed.yaml").write_text("assigner:\n  kind: fcos\n  top_k: 5\n")
    with pytest.raises(ConfigError, match=r"mixed.yaml:3  assigner.top_k: is a setting of assigner.kind simota"):
        load("mixed.yaml")


def test_the_tree_is_shown_with_the_settings_of_its_kind_and_reads_back():
    loaded = load("other.yaml")
    text = show(loaded)
    assert "level_reach: 6.0" in text
    assert "top_k" not in text
    Path("again.yaml").write_text(text)
    assert load("again.yaml").config == loaded.config
    assert Config.model_validate(loaded.config.model_dump(mode="json")) == loaded.config


def test_settings_are_explained_with_their_kind():
    assert "one of simota, fcos" in explain("assigner.kind")
    assert "fcos: Farthest side" in explain("assigner.level_reach")
    assert explain("assigner.center_radius").startswith("assigner.center_radius: Half the side")
    assert "assigner.level_reach" in explain_json("assigner")["settings"]
    kinds = json_schema()["properties"]["assigner"]["discriminator"]["mapping"]
    assert set(kinds) == {"simota", "fcos"}
