"""The command line's border: help without imports, exit codes, one message an error, the last line of --json."""

import json
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from patience import patient

from rayox import cli
from rayox_model.core.errors import ConfigError, DataError, ModelError, TrainingError

HELP_SECONDS = 0.5


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rayox", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, check=False)


def cpu_seconds(*arguments: str) -> float:
    """User and system seconds of a rayox process, the least of three."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def modules_imported_by(*arguments: str) -> set[str]:
    code = f"import sys; from rayox.cli import main; main({list(arguments)!r}); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def verb(monkeypatch):
    """Make `rayox config` do something else."""

    def replace(action) -> None:
        @click.command()
        @click.option("--json", is_flag=True)
        @click.option("--count", type=int)
        def command(json: bool, count: int | None) -> None:
            action()

        monkeypatch.setattr("rayox.config.command", command)

    return replace


def test_help_lists_the_verbs():
    done = run("--help")
    assert done.returncode == 0
    for verb, summary in cli.VERBS.items():
        assert any(line.split() == [verb, *summary.split()] for line in done.stdout.splitlines())


def test_help_is_quick():
    assert cpu_seconds("--help") < patient(HELP_SECONDS)  # a core that others share does less in a second


def test_help_imports_nothing_heavy():
    assert not {"torch", "ray", "mlflow", "pydantic", "numpy", "cv2"} & modules_imported_by("--help")


def test_settings_are_shown_without_torch():
    assert not {"torch", "ray", "mlflow", "cv2"} & modules_imported_by("config", "show", "shapes")


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("rayox 0.")


def test_an_unknown_verb_is_a_usage_error():
    done = run("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "error: no such verb: trian; did you mean train?"


@pytest.mark.parametrize(("given", "meant"), [("--score", "--score-threshold"), ("--jsn", "--json")])
def test_an_option_that_begins_as_given_is_nearer_than_one_that_looks_alike(capsys, given, meant):
    assert cli.main(["predict", given, "x"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: No such option '{given}'. Did you mean '{meant}'?"


def test_show_prints_values_with_their_sources():
    done = run("config", "show", "shapes", "train.seed=3", RAYOX_TRAIN__EPOCHS="20")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["seed:", "3", "#", "command", "line"] in lines
    assert ["epochs:", "20", "#", "env", "RAYOX_TRAIN__EPOCHS"] in lines
    assert any(line[:2] == ["annotations:", "shapes:train"] and line[3].startswith("shapes.yaml:") for line in lines)


def test_show_without_a_recipe():
    done = run("config", "show", "train.seed=3", "--json")
    assert json.loads(done.stdout)["sources"]["train.seed"] == "command line"


def test_show_as_json():
    found = json.loads(run("config", "show", "finetune", "--json").stdout.splitlines()[-1])
    assert found["config"]["train"]["epochs"] == 15
    assert found["sources"]["train.epochs"].startswith("finetune.yaml:")
    assert found["sources"]["model.size"].startswith("extends coco-nano.yaml:")


def test_wrong_settings_are_said_line_by_line(in_folder):
    (in_folder / "coco_s.yaml").write_text("model:\n  size: xl\ntrain:\n  epocs: 3\n")
    done = run("config", "show", "coco_s.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[:3] == [
        "error:",
        "coco_s.yaml:2  model.size: 'xl' is not one of nano, tiny, s, m, l, x, darknet53",
        "coco_s.yaml:4  train.epocs: no such setting; did you mean train.epochs?",
    ]


def test_wrong_settings_as_json():
    done = run("config", "show", "shapes", "train.epocs=3", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "error": {
            "code": "config",
            "message": "command line  train.epocs: no such setting; did you mean train.epochs?",
            "hint": "`rayox config explain KEY` says what a setting takes",
        }
    }


@pytest.mark.slow
def test_explain_and_schema():
    assert "Passes over the training images." in run("config", "explain", "train.epochs").stdout
    assert json.loads(run("config", "explain", "train.epochs", "--json").stdout)["default"] == 300
    assert "checkpoint.keep" in run("config", "explain").stdout
    assert json.loads(run("config", "schema").stdout)["title"] == "Config"
    assert run("config", "explain", "train.epocs").returncode == 2


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(ConfigError, 2), (DataError, 3), (ModelError, 4), (TrainingError, 8)],
)
def test_errors_have_the_documented_exit_codes(verb, capsys, error, exit_code):
    def fail() -> None:
        raise error("it is broken", "mend it")

    verb(fail)
    assert cli.main(["config"]) == exit_code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: it is broken\nhint: mend it\n")
    assert cli.main(["config", "--json"]) == exit_code
    said = capsys.readouterr()
    expected = {"error": {"code": error.code, "message": "it is broken", "hint": "mend it"}}
    assert json.loads(said.out) == expected


def test_usage_errors_as_json(verb, capsys):
    verb(lambda: None)
    assert cli.main(["config", "--count", "many", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["error"]
    assert (found["code"], found["hint"]) == ("usage", "`rayox config --help` lists what there is")
    assert "many" in found["message"]
    assert cli.main(["config", "--bogus"]) == 2


def test_a_command_that_exits_by_itself(verb):
    verb(lambda: click.get_current_context().exit(3))
    assert cli.main(["config"]) == 3


def test_an_interrupt(verb, capsys):
    def interrupt() -> None:
        raise KeyboardInterrupt

    verb(interrupt)
    assert cli.main(["config", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "interrupted"


def test_a_defect_is_one_line_and_a_file(verb, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAYOX_DEBUG", raising=False)

    def fail() -> None:
        raise KeyError("lost\nkey")

    verb(fail)
    assert cli.main(["config", "--json"]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.startswith("error: internal error: KeyError: ")
    (kept,) = tmp_path.glob("rayox-error-*.txt")
    assert "Traceback" in kept.read_text()
    found = json.loads(said.out)["error"]
    assert found["code"] == "internal"
    assert str(kept) in found["hint"]


def test_a_defect_with_debugging_on(verb, capsys, monkeypatch):
    monkeypatch.setenv("RAYOX_DEBUG", "1")

    def fail() -> None:
        raise ValueError("odd")

    verb(fail)
    assert cli.main(["config"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_early():
    command = f"{shlex.quote(sys.executable)} -m rayox config explain --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.stderr == ""
    assert done.returncode in (0, cli.BROKEN_PIPE)  # 0 when all of it fitted into the pipe


def test_output_that_nobody_takes():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rayox", "config", "show", "shapes"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.BROKEN_PIPE, "")


def test_a_group_without_a_verb_shows_its_help_and_no_error(capsys):
    assert cli.main(["cluster"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: rayox cluster")
    assert "error" not in said
