"""Two fine-tunes of different length, as a user makes and promotes them: the longer may follow, the shorter may not."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1800)]
SIZE = ["image_size=160", "train.closing_epochs=1", "train.workers=1"]


@pytest.fixture(scope="module")
def rayox(shared_data, tmp_path_factory):
    """Run a verb in one folder; its exit code, its result, and its model's val as words."""
    folder = tmp_path_factory.mktemp("blood")
    environment = {name: value for name, value in os.environ.items() if name != "RAYOX_STATE"}

    def run(*words: str) -> tuple[int, dict]:
        command = [sys.executable, "-m", "rayox", *words, "--json"]
        done = subprocess.run(
            command, cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def split(shared_data):
    def words(*names: str, of: str) -> list[str]:
        folder = shared_data / "bccd"
        data = {"annotations": f"{folder}/annotations/instances_{of}.json", "images": f"{folder}/images"}
        return [f"data.{name}.{what}={path}" for name in names for what, path in data.items()]

    return words


@pytest.fixture(scope="module")
def tuned(rayox, split, shared_data):
    """Registered versions by their epochs."""
    found = {}
    for epochs in (2, 8):
        data = split("train", of="train") + split("val", of="val")
        init = f"model.init={shared_data}/weights/yolox_nano_bncal.pth"
        name = f"blood-{epochs}"
        code, said = rayox("train", "finetune", init, *data, *SIZE, f"train.epochs={epochs}", "--name", name)
        assert code == 0, said
        found[epochs] = said["registered"]
    return found


def test_the_longer_one_follows_and_the_shorter_one_is_refused(rayox, split, tuned):
    gate = split("val", of="test")  # photos that neither has seen
    short, first = rayox("promote", tuned[2], "--to", "blood", *gate)
    assert short == 0, first
    longer, second = rayox("promote", tuned[8], "--to", "blood", *gate)
    assert longer == 0, second
    assert second["difference"]["says"] == "better"
    back, refused = rayox("promote", tuned[2], "--to", "blood", *gate)
    assert back == 7
    assert "change: AP" in refused["error"]["message"]
    assert "worse" in refused["error"]["message"]
    print(second["difference"], refused["error"]["message"])
    _, shown = rayox("models", "show", "models:/blood@champion")
    assert second["model"] == f"models:/blood/{shown['version']}"
