"""`rayox models` and registered MODELs through the real command line, on a registry in the state folder."""

import os

import pytest

from rayox_platform.track.registration import register
from rayox_platform.track.registry import set_alias
from rayox_platform.track.tracking import connect, open_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registry(tmp_path_factory, toy_onnx):
    """A state folder with shapes/1, whose alias is best, and shapes/2; and the two versions."""
    folder = tmp_path_factory.mktemp("registry")
    store = connect(None, folder / "state", "rayox")
    found = []
    for name, ap in (("a-run", 0.25), ("b-run", 0.5)):
        tracking = open_run(store, name, {"model.size": "nano", "image_size": "[64, 64]"}, {"classes": "dim, bright"})
        tags = {"AP": f"{ap:.4f}", "AP50": f"{2 * ap:.4f}", "run": name}
        found.append(register(tracking, "shapes", toy_onnx, {"AP": ap}, 12, tags))
    set_alias(store, found[0], "best")
    return folder / "state", found


@pytest.fixture
def registered(rayox, registry, monkeypatch):
    """The two versions, in the state folder of the command line under test, which only reads them."""
    folder, versions = registry
    monkeypatch.setenv("RAYOX_STATE", str(folder))
    return versions


def test_list_shows_versions_aliases_and_metrics(rayox, registered):
    said = rayox("models", "list", "--json")
    assert said.exit_code == 0
    listed = said.result["models"]
    assert [(one["name"], one["version"], one["aliases"]) for one in listed] == [
        ("shapes", 2, []),
        ("shapes", 1, ["best"]),
    ]
    text = rayox("models", "list").out.splitlines()
    assert text[0].split() == ["model", "version", "aliases", "AP", "AP50", "registered", "run"]
    assert "@best" in text[2]
    assert "0.2500" in text[2]


def test_show_tells_one_version_with_its_origin(rayox, registered):
    said = rayox("models", "show", "shapes@best")
    assert said.exit_code == 0
    assert "models:/shapes/1  @best" in said.out
    assert "dim, bright" in said.out
    assert registered[0].run_id in said.out
    assert rayox("models", "show", "models:/shapes/2", "--json").result["version"] == 2


def test_an_empty_registry_says_how_models_get_there(rayox):
    said = rayox("models", "list")
    assert (said.exit_code, "no model is registered" in said.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (("show", "shapez"), 4, "shapez: no registered model of that name"),
        (("show", "shapes@worst"), 4, "shapes: has no version or alias 'worst'"),
        (("list", "tracking.uri=http://127.0.0.1:9"), 9, "tracking.uri: cannot keep runs at http://127.0.0.1:9"),
    ],
)
def test_what_is_not_there_is_one_message_with_its_exit_code(rayox, registered, words, exit_code, message, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = rayox("models", *words)
    assert said.exit_code == exit_code
    assert message in said.err
    assert "Traceback" not in said.err


def test_a_champion_that_no_gate_has_seen_is_none(rayox, registry, registered, toy_data):
    said = rayox("predict", "models:/shapes@champion", toy_data / "images", "-o", "found")
    assert said.exit_code == 4
    assert "shapes: has no champion" in said.err


def test_a_bare_name_says_that_it_is_the_latest_and_not_the_champion(rayox, registered, toy_data):
    said = rayox("predict", "models:/shapes", toy_data / "images", "-o", "found", "--json")
    assert said.exit_code == 0
    assert "models:/shapes takes the latest version, not the champion" in said.err


def test_a_registered_model_predicts_and_is_evaluated_like_a_file(rayox, registered, toy_data):
    data = (f"data.val.annotations={toy_data / 'val.json'}", f"data.val.images={toy_data / 'images'}")
    by_name = rayox("evaluate", "models:/shapes@best", *data, "--json")
    assert by_name.exit_code == 0, by_name.err
    by_run = rayox("evaluate", f"runs:/{registered[0].run_id}/model", *data, "--json")
    assert by_run.result["metrics"] == by_name.result["metrics"]
    found = rayox("predict", "models:/shapes@best", toy_data / "images", "-o", "found", "--json")
    assert found.exit_code == 0, found.err
    assert os.path.exists("found/results.json")
