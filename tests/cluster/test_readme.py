"""The commands of cluster/README.md and of the heads of the manifests: run as they stand, or held against their CLI."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from patience import patient
from ray.scripts.scripts import cli as ray_cli

from rayox.cli import cli
from rayox.submission.resolved import resolve
from rayox_platform.resources.node_labels import selector

ROOT = Path(__file__).parents[2]
README = (ROOT / "cluster" / "README.md").read_text()
BOX = "rayox cluster up"  # what the block begins with that needs nothing but this machine
QUICK = {"RAYOX_IMAGE_SIZE": "64", "RAYOX_TRAIN__EPOCHS": "1", "OMP_NUM_THREADS": "1"}
ELSEWHERE = {
    "docker": ("build", "compose up", "compose exec"),
    "kubectl": ("apply -f", "create secret generic", "port-forward", "exec"),
}  # of programs that are not here, the subcommands that their manuals have


def blocks() -> list[list[str]]:
    """The bash blocks, each as its commands, continued ones joined, comments off."""
    found = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [block.replace("\\\n", " ").splitlines() for block in found]
    return [[re.sub(r"\s+#.*", "", line).strip() for line in block if line.strip()] for block in lines]


def in_text() -> list[str]:
    """Commands between backticks, outside of blocks."""
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    commands = [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]
    return [one for one in commands if one.split()[0] in ("rayox", "ray", "docker", "kubectl") and " " in one]


def of_manifests() -> list[str]:
    """Commands in the head of each example."""
    found = []
    for path in sorted((ROOT / "cluster" / "examples").iterdir()):
        for line in path.read_text().splitlines():
            if line.startswith("#   "):
                found += [part.strip() for part in re.split(r"; (?=\w+[ =])", re.sub(r"\s+# .*", "", line[4:]))]
    programs = ("rayox", "ray", "docker", "kubectl", "python")
    return [one for one in found if re.sub(r"^(\w+=\S+ )*", "", one).split()[0] in programs]


def parsed(words: list[str], group: click.Group, program: str) -> None:
    """The words hold against a command line: each subcommand and option is there."""
    command: click.Command = group
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if command.name == "tune" and rest[0] not in command.commands:
            break  # a campaign
        for name in rest[0].split("|"):  # `up|status|down`: each of them
            found = command.get_command(click.Context(command), name)
            assert found is not None, f"{program} has no {name} in {words}"
        command, rest = found, rest[1:]
    options = {option for parameter in command.params for option in getattr(parameter, "opts", ())}
    own = rest[: rest.index("--")] if "--" in rest else rest
    for word in own:
        if word.startswith("-") and word not in ("-h", "--help"):
            assert word.strip("[]").partition("=")[0] in options, f"{program} {command.name} has no {word}"


def check(command: str) -> None:
    words = [word.strip("[]") for word in re.sub(r"^(\w+=\S+ )*", "", command).replace("…", "").split()]
    program, *rest = words
    match program:
        case "rayox":
            parsed(rest, cli, "rayox")
            if rest[0] == "submit" and "--" in rest and rest[rest.index("--") + 1 :]:
                parsed(rest[rest.index("--") + 1 :], cli, "rayox submit --")
        case "ray":
            parsed(rest, ray_cli, "ray")
        case "python":
            done = subprocess.run(shlex.split(command.partition(" > ")[0]), capture_output=True, check=True)
            assert len(done.stdout.strip()) == 64
        case _:
            assert any(" ".join(rest).startswith(known) for known in ELSEWHERE[program]), command


@pytest.mark.parametrize("command", sorted({*in_text(), *of_manifests()}))
def test_a_command_that_is_named_is_one(command):
    check(command)


def test_a_command_that_is_none_is_found():
    """So that the test above can fail."""
    for wrong in ("rayox cluster upp", "rayox doctor --adress A", "ray strat --head", "kubectl aply -f FILE"):
        with pytest.raises(AssertionError):
            check(wrong)


def test_every_submit_of_a_block_is_a_job(tmp_path, monkeypatch):
    """Resolved as submit does it: settings, labels and places; nothing is sent."""
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    places = ["storage=s3://runs/here", "tracking.uri=http://mlflow:5000"]
    commands = [line for block in blocks() for line in block if line.startswith("rayox submit")]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        given = words[words.index("--") + 1 :]
        resolved = resolve([*given, *(place for place in places if place.partition("=")[0] not in command)], None)
        assert resolved.verb == "train"
        nodes = [word.partition(".nodes=")[2] for word in given if ".nodes=" in word]
        assert all(selector(text) == {"rayox.io/role": text.rpartition("=")[2]} for text in nodes)


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_one_box_works_as_written(tmp_path):
    (box,) = [block for block in blocks() if block[0].startswith(BOX)]
    assert box[-1] == "rayox cluster down"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_", "MLFLOW_"))}
    phases = {"RAYOX_TRAIN__CLOSING_EPOCHS": "0", "RAYOX_TRAIN__WARMUP_EPOCHS": "0.5"}
    try:
        for command in box:
            done = subprocess.run(
                [sys.executable, "-m", *shlex.split(command)],
                cwd=tmp_path,
                env=kept | QUICK | phases,
                capture_output=True,
                text=True,
                timeout=patient(600),
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if command == "rayox runs list":
                assert "finished" in done.stdout
    finally:
        down = [sys.executable, "-m", "rayox", "cluster", "down"]
        subprocess.run(down, cwd=tmp_path, env=kept, capture_output=True, check=False)
