"""Every command of the README runs as it is written, on a toy data set and in little time."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from patience import patient

from rayox_model.nets.yolox import YOLOX

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
QUICK = {  # what makes a recipe small without touching the command line
    "RAYOX_IMAGE_SIZE": "64",
    "RAYOX_TRAIN__EPOCHS": "2",
    "RAYOX_TRAIN__CLOSING_EPOCHS": "1",
    "RAYOX_TRAIN__WARMUP_EPOCHS": "1",
    "RAYOX_TRAIN__SPARES": "false",
    "OMP_NUM_THREADS": "1",
}
ELSEWHERE = ("make demo", "make test", ". .venv/bin/activate")  # run by hand and by CI


def commands() -> list[str]:
    """The lines of the README's bash blocks, continued ones joined, comments off."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, toy_data) -> Path:
    """What the README takes to be there: weights, annotations, images and photos."""
    folder = tmp_path_factory.mktemp("readme")
    torch.manual_seed(0)
    torch.save({"model": YOLOX("nano", 80).state_dict()}, folder / "yolox_nano.pth")
    for name, source in (("train", "train"), ("val", "val"), ("test", "val")):
        shutil.copy(toy_data / f"{source}.json", folder / f"{name}.json")
    shutil.copytree(toy_data / "images", folder / "images")
    shutil.copytree(toy_data / "images", folder / "photos")
    return folder


def run(command: str, folder: Path) -> None:
    words = shlex.split(command)
    assert words[0] == "rayox", command
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | QUICK,
        capture_output=True,
        text=True,
        timeout=patient(300),
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def serve(command: str, folder: Path) -> None:
    """`mlflow ui …` answers with its page."""
    words = shlex.split(command)
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    started = [sys.executable, "-m", *words, "--port", "5713", "--workers", "1"]
    with subprocess.Popen(started, cwd=folder, env=environment, stderr=subprocess.PIPE, start_new_session=True) as ui:
        try:
            for _ in range(120):
                time.sleep(0.5)
                assert ui.poll() is None, ui.stderr.read().decode()
                try:
                    page = urllib.request.urlopen("http://127.0.0.1:5713/", timeout=5).read()
                    break
                except OSError:
                    continue
            assert b"MLflow" in page
        finally:
            os.killpg(ui.pid, 15)


def test_every_command_of_the_readme_runs_as_written(folder):
    found = [command for command in commands() if command not in ELSEWHERE]
    assert any(command.startswith("rayox train finetune") for command in found)
    assert any(command.startswith("mlflow ui") for command in found)
    for command in found:
        (serve if command.startswith("mlflow") else run)(command, folder)
