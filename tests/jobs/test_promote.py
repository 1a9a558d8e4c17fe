"""`rayox promote`, `rollback` and `models history|verify|reconcile|diff` through the real command line."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from promotions import Registry, make_registry
from tune_toys import BASE, campaign

from rayox_platform.runs.places import open_runs
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Confirmed, Finished, Opened, Planned

README = Path(__file__).resolve().parents[2] / "platform" / "README.md"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, toy_onnx, toy_data) -> Registry:
    return make_registry(tmp_path_factory.mktemp("promote"), toy_onnx, toy_data)


@pytest.fixture
def registry(rayox, made, monkeypatch) -> Registry:
    """One for all tests, each of which promotes to names of its own."""
    monkeypatch.setenv("RAYOX_STATE", str(made.state))
    return made


def test_from_two_runs_to_a_champion_and_back(rayox, registry, toy_onnx, toy_data):
    first = rayox("promote", "models:/shapes/1", "--to", "line", "--gate", registry.gate, "--json")
    assert first.exit_code == 0, first.err
    assert first.result["model"] == "models:/line/1"
    assert [check["name"] for check in first.result["checks"]][:2] == ["floors", "change"]
    second = rayox("promote", f"runs:/{registry.versions[1].run_id}", "--to", "line", "--gate", registry.gate, "--json")
    assert second.exit_code == 0, second.err
    assert (second.result["model"], second.result["predecessor"]) == ("models:/line/2", 1)
    used = rayox("predict", "models:/line@champion", toy_data / "images", "-o", "found", "--json")
    assert used.exit_code == 0, used.err
    back = rayox("rollback", "line", "--reason", "too many false alarms", "--json")
    assert back.exit_code == 0, back.err
    assert (back.result["model"], back.result["restores"]) == ("models:/line/3", 1)
    listed = rayox("models", "history", "line", "--json").result["history"]
    assert [(one["version"], one["state"], one["action"]) for one in listed] == [
        (3, "champion", "rollback"),
        (2, "was champion", "promote"),
        (1, "was champion", "promote"),
    ]
    assert rayox("models", "verify", "line").exit_code == 0
    assert rayox("models", "reconcile", "line").out == "everything is as it was signed\n"
    diff = rayox("models", "diff", "line/1", "line/2", "--json").result["differences"]
    assert {"what": "run", "first": "a-run", "second": "b-run"} in diff
    measured = rayox("evaluate", "models:/line@champion", *registry.data, "--json")
    assert measured.result["metrics"] == rayox("evaluate", toy_onnx, *registry.data, "--json").result["metrics"]


def test_a_refusal_has_exit_code_7_and_its_numbers_and_an_override_is_kept(rayox, registry, tmp_path):
    gate = tmp_path / "strict.yaml"
    gate.write_text("floors: {AP50: 0.9}\nchange: {resamples: 100}\n")
    page = tmp_path / "gate.html"
    words = ("promote", "models:/shapes/1", "--to", "pilot", "--gate", gate)
    for more in (("--dry-run",), ()):
        said = rayox(*words, *more, "--page", page, "--json")
        assert said.exit_code == 7
        assert said.result["error"]["code"] == "gate"
        assert "floors: AP50" in said.result["error"]["message"]
        assert [check["name"] for check in said.result["checks"] if not check["passed"]] == ["floors"]
        assert "refused" in page.read_text()
    assert rayox("models", "history", "pilot", "--json").result["history"][0]["state"] == "refused"
    why = "the only model there is, for the pilot"
    told = tmp_path / "told.json"
    notice = f"notify.command=sh -c 'cat > {told}'"
    said = rayox(*words, "--override", "floors", "--why", why, notice, "--json")
    assert said.exit_code == 0, said.err
    message = json.loads(told.read_text())
    assert (message["event"], message["status"], message["model"]) == ("promotion", "promoted", "models:/pilot/1")
    assert message["overrides"] == {"floors": why}
    assert rayox("models", "history", "pilot", "--json").result["history"][0]["overrides"] == "floors"
    assert [check["overruled"] for check in said.result["checks"] if check["name"] == "floors"] == [why]


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (("promote", "models:/shapes/1"), 2, "--to"),
        (("promote", "models:/shapez/1", "--to", "empty"), 4, "shapez: no registered model of that name"),
        (("promote", "nothing.onnx", "--to", "empty"), 4, "nothing.onnx: no such model"),
        (
            ("promote", "models:/shapes/1", "--to", "empty", "--override", "luck", "--why", "x"),
            2,
            "'luck' is not a check",
        ),
        (("promote", "models:/shapes/1", "--to", "empty", "--override", "floors"), 2, "1 checks and 0 reasons"),
        (
            ("promote", "models:/shapes/1", "--to", "empty", "--override", "floors", "--why", " "),
            2,
            "no reason is given",
        ),
        (("promote", "models:/shapes/1", "--to", "empty", "--gate", "none.yaml"), 2, "none.yaml cannot be read"),
        (("promote", "models:/shapes/1", "--to", "a/b"), 2, "--to: 'a/b'"),
        (("promote", "models:/shapes/1", "--to", "empty", "promotion.key=no.pem"), 2, "no.pem: no such file"),
        (("rollback", "empty"), 4, "empty: has no champion"),
        (("models", "history", "empty"), 4, "empty: nothing was ever promoted to it"),
        (("models", "verify", "empty"), 4, "empty: has no champion"),
        (("models", "reconcile", "empty"), 4, "empty: has no champion"),
    ],
)
def test_mistakes_are_one_message_with_its_exit_code(rayox, registry, words, exit_code, message):
    said = rayox(*words)
    assert (said.exit_code, "Traceback" in said.err) == (exit_code, False), said.err
    assert message in said.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("floors:\n  AP51: 0.3\n", "gate.yaml:2  floors.AP51"),
        ("change:\n  margins: 0.1\n", "gate.yaml:2  change.margins: no such setting; did you mean margin?"),
        ("change: {margin: 2}\n", "gate.yaml:1  change.margin: 2 is refused"),
        ("[1, 2]\n", "a gate is made of settings"),
        ("floors: {AP: 0.3\n", "not readable as YAML"),
    ],
)
def test_a_gate_that_is_wrong_is_refused_with_its_line(rayox, tmp_path, text, message):
    gate = tmp_path / "gate.yaml"
    gate.write_text(text)
    said = rayox("promote", "models:/shapes/1", "--to", "empty", "--gate", gate)
    assert said.exit_code == 2
    assert message in said.err, said.err


def test_the_confirmed_winner_of_a_campaign_is_a_model(rayox, registry, checkpoint):
    home = campaign_home(None, "search")
    ledger = Ledger(home.journal())
    ledger.tell(Opened(campaign=campaign().model_dump(mode="json"), config=BASE, version="0"))
    ledger.tell(Planned(trial=0, values={"assigner.top_k": 10}, seed=0, run="search-000"))
    ledger.tell(Finished(trial=0, checkpoint=checkpoint.name))
    unconfirmed = rayox("promote", "campaign:search", "--to", "tuned", "--gate", registry.gate)
    assert (unconfirmed.exit_code, "its winner has not been confirmed" in unconfirmed.err) == (2, True)
    ledger.tell(Confirmed(result={"winner": 0, "sentence": "trial 0 is better", "compared": []}))
    shutil.copytree(checkpoint, open_runs(None).home("search-000").folder / "checkpoints" / checkpoint.name)
    words = ("promote", "campaign:search", "--to", "tuned", "--gate", registry.gate, *registry.data)
    refused = rayox(*words, "--json")  # nobody has told MLflow of this run
    assert refused.exit_code == 7, refused.err
    assert [one["name"] for one in refused.result["checks"] if not one["passed"]] == ["lineage", "leaks"]
    why = ("--override", "lineage", "--why", "a test", "--override", "leaks", "--why", "a test")
    said = rayox(*words, *why, "--json")
    assert (said.exit_code, said.result["model"]) == (0, "models:/tuned/1"), said.err


def readme_commands() -> list[list[str]]:
    """The commands of the README's chapter, without comments."""
    chapter = README.read_text().split("## From a run to a champion")[1].split("\n## ")[0]
    lines = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)[0].splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_story_of_the_readme(rayox, registry, toy_data):
    """From two runs to a champion and back, as a user types it."""
    shutil.copy(registry.gate, "gate.yaml")
    shutil.copytree(toy_data / "images", "photos")
    commands = readme_commands()
    assert [words[0] for words in commands].count("promote") == 3
    for words in commands:
        said = rayox(*words)
        assert said.exit_code == 0, (words, said.err)
    assert "everything is as it was signed" in said.out
    assert "gate.html" in os.listdir()
