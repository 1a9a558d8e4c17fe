"""Credentials never leave this machine with a job: all who reach the dashboard read its files and its command line."""

import pytest
from toy_dashboard import ToyDashboard

from rayox.submission.resolved import resolve
from rayox_model.core.errors import ConfigError

PLACES = ("storage=s3://runs/here", "tracking.uri=http://mlflow:5000")
SPACE = "space:\n  train.momentum: {float: [0.8, 0.95]}\n"
SECRET = "hunter2"
WITH_PASSWORD = f"http://bob:{SECRET}@mlflow:5000"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "RAYOX_STATE", "RAYOX_ADDRESS", "RAYOX_STORAGE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


RECIPES = [
    (f"tracking: {{uri: '{WITH_PASSWORD}'}}", "tracking.uri"),
    (f"tracking.uri: {WITH_PASSWORD}", "tracking.uri"),
    (f"notify: {{url: 'https://hooks.example.com/{SECRET}'}}", "notify.url"),
    (f"notify.url: https://hooks.example.com/{SECRET}", "notify.url"),
    (f"notify.command: tell {SECRET}", "notify.command"),
    (f"# tracking: {WITH_PASSWORD}", "toy.yaml:2"),
]


@pytest.mark.parametrize(("line", "said"), RECIPES)
@pytest.mark.parametrize("verb", ["tune", "data show"])
def test_a_recipe_that_is_sent_has_none(tmp_path, line, said, verb):
    """Also one that a word overrules: the file itself would be sent."""
    (tmp_path / "search.yaml").write_text(f"recipe: toy.yaml\n{SPACE}")
    (tmp_path / "toy.yaml").write_text(f"extends: shapes\n{line}\n")
    words = ["tune", "search.yaml"] if verb == "tune" else ["data", "show", "toy.yaml", "--step", "0", "-o", "/x/s.jpg"]
    _refused([*words, *PLACES], said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"set: {{notify.url: 'https://hooks.example.com/{SECRET}'}}", "notify.url"),
        (f"set:\n  notify:\n    command: tell {SECRET}", "notify.command"),
        (f"set: {{tracking.uri: '{WITH_PASSWORD}'}}", "tracking.uri"),
        (f"set: {{tracking: {{uri: 'mysql://host/db?password={SECRET}'}}}}", "tracking.uri"),
    ],
)
def test_a_campaign_s_own_settings_have_none(tmp_path, line, said):
    (tmp_path / "search.yaml").write_text(f"recipe: shapes\n{SPACE}{line}\n")
    _refused(["tune", "search.yaml", *PLACES], said)


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "simota", f"tracking.uri={WITH_PASSWORD}", PLACES[0]],
        ["models", "list", f"tracking.uri={WITH_PASSWORD}", PLACES[0]],
        ["tune", "report", "x", "-o", "/shared/x", "--optuna", f"postgresql://bob:{SECRET}@host/db", *PLACES],
        ["promote", "models:/x/1", "--to", "y", "--reason", f"token={SECRET}", *PLACES],
        ["train", "shapes", f"tracking.experiment={WITH_PASSWORD}", *PLACES],
    ],
)
def test_no_word_of_a_verb_has_one(words):
    _refused(words, "")


def test_the_tracking_server_s_variable_has_none(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH_PASSWORD)
    for words in (["train", "shapes"], ["tune", "simota"], ["models", "list"]):
        _refused([*words, PLACES[0]], "tracking.uri")


def test_a_key_that_signs_here_is_not_the_nodes(monkeypatch):
    """Named by a variable it is each machine's own; named by a word it has to be on the nodes."""
    monkeypatch.setenv("RAYOX_PROMOTION__KEY", "/home/me/key.pem")
    resolved = resolve(["promote", "models:/x/1", "--to", "y", *PLACES], None)
    assert resolved.paths == ()
    assert not [word for word in resolved.task.arguments if "key.pem" in word]
    named = resolve(["promote", "models:/x/1", "--to", "y", "promotion.key=/secrets/key.pem", *PLACES], None)
    assert named.paths == ("/secrets/key.pem",)


def _refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(words, None)
    assert said in error.value.message
    assert error.value.hint
    assert SECRET not in error.value.message + error.value.hint


@pytest.mark.parametrize("way", ["word", "variable"])
def test_the_doctor_hands_none_to_the_job_that_asks(rayox, monkeypatch, way):
    """The rest is still looked at."""
    address = f"postgresql://bob:{SECRET}@host/db"
    if way == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    words = [f"tracking.uri={address}"] if way == "word" else []
    with ToyDashboard() as dashboard:
        found = rayox("doctor", "--address", dashboard.url, *words, "--json")
        (asked,) = dashboard.questions
        assert SECRET not in str(asked) + str(dashboard.packages)
    assert SECRET not in found.out + found.err
    wrong = [one for one in found.result["checks"] if one["verdict"] == "error"]
    assert [(one["check"], one["exit_code"]) for one in wrong] == [("tracking", 2)]
    assert "MLFLOW_TRACKING_PASSWORD" in wrong[0]["fix"]
    assert found.exit_code == 2
    assert {"python", "packages", "disks"} <= {one["check"] for one in found.result["checks"]}
