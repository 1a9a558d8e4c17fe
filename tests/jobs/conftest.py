"""The command line run in the test's own process and folder, and small models for it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from make_checkpoint import save_checkpoint
from toy_engine import ENGINE
from white_box import WhiteBoxDetector

from rayox.cli import main
from rayox_model.checkpoint.snapshot import Facts
from rayox_model.nets.spec import YOLOXSpec
from rayox_model.nets.yolox import YOLOX
from rayox_model.train.engine import new_state
from rayox_platform.config.tree import Config

CLASSES = ("dim", "bright")  # of toy_data
MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI")
CODES = {2: "config", 3: "data", 4: "model"}
VARIABLES = ("RAYOX_STATE", "RAYOX_ADDRESS", "RAY_ADDRESS", "RAYOX_DEBUG", *MLFLOW)


@dataclass(frozen=True)
class Said:
    """What a command line left behind."""

    exit_code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The last line of standard output."""
        found = json.loads(self.out.splitlines()[-1])
        assert isinstance(found, dict)
        return found


@pytest.fixture
def rayox(tmp_path, monkeypatch, capsys) -> Callable[..., Said]:
    """Run a command line in an empty folder, which also holds the state."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rayox.terminal.progress.SILENT_SECONDS", 3600.0)  # what a slow machine adds to standard error
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        exit_code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(exit_code, said.out, said.err)

    return run


@pytest.fixture
def refused(rayox):
    """Assert that a command line is refused, with words in its message; also with --json, and leaving no file."""

    def check(exit_code: int, *arguments: object, says: tuple[str, ...], code: str | None = None) -> None:
        before = sorted(Path().rglob("*"))
        said = rayox(*arguments)
        assert (said.exit_code, said.out) == (exit_code, ""), said.err
        assert said.err.startswith("error:")
        assert said.err.count("error:") == said.err.count("hint:") == 1
        assert "Traceback" not in said.err
        for word in says:
            assert word in said.err
        as_json = rayox(*arguments, "--json")
        assert (as_json.exit_code, as_json.err, as_json.out.count("\n")) == (exit_code, said.err, 1)
        error = as_json.result["error"]
        assert error["code"] == (code or CODES[exit_code])
        assert error["message"] in said.err
        assert said.err.rstrip().endswith(f"hint: {error['hint']}")
        assert error["hint"]
        assert sorted(Path().rglob("*")) == before

    return check


@pytest.fixture
def data(rayox, toy_data) -> Path:
    """A copy of toy_data in the working folder, to be damaged."""
    return Path(shutil.copytree(toy_data, "data"))


@pytest.fixture
def detector(monkeypatch) -> WhiteBoxDetector:
    """In place of any MODEL: it finds the white box of painted images."""
    stand_in = WhiteBoxDetector()
    monkeypatch.setattr("rayox_platform.models.open_model.open_detector", lambda *_, **__: stand_in)
    return stand_in


@pytest.fixture(scope="session")
def checkpoint(toy_data, tmp_path_factory) -> Path:
    """An untrained nano network as a checkpoint folder of a run on toy_data."""
    data = {"val": {"annotations": str(toy_data / "val.json"), "images": str(toy_data / "images")}}
    config = Config.model_validate({"image_size": 64, "data": data, "eval": {"nms_threshold": 0.5}})
    facts = Facts(
        model=YOLOXSpec(size="nano"),
        classes=CLASSES,
        image_size=(64, 64),
        step=12,
        epoch=1,
        config=config.model_dump(mode="json"),
        metrics={},
    )
    state = new_state(YOLOX("nano", len(CLASSES)), ENGINE, torch.device("cpu"))
    state.step = 12
    return save_checkpoint(tmp_path_factory.mktemp("run"), state, facts)


@pytest.fixture(scope="session")
def nameless_pth(tmp_path_factory) -> Path:
    """Untrained weights of two classes in the official form, which names no classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "two.pth"
    torch.save({"model": YOLOX("nano", len(CLASSES)).state_dict()}, path)
    return path
