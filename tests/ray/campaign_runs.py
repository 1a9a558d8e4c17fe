"""A small campaign on the command line: its file, its process, and what its ledger says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from patience import patient

from rayox_platform.runs.journal import open_journal
from rayox_platform.storage.folders import Folder, LocalFolder
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import read_state

RECIPE = {
    "image_size": 64,
    "model": {"size": "nano"},
    "augment": {"mosaic_scale": [0.5, 1.5], "mixup_prob": 0.0},
    "train": {
        "epochs": 2,
        "batch_size": 8,
        "closing_epochs": 1,
        "warmup_epochs": 1,
        "multi_scale": 0,
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "precision": "fp32",
    },
}
CAMPAIGN = {
    "recipe": "toy.yaml",
    "space": {"assigner.center_radius": {"float": [0.5, 3.5]}, "assigner.top_k": {"int": [5, 20]}},
    "schedule": {"kind": "promote", "rungs": [1]},
    "budget": {"trials": 4},
    "confirm": {"top": 1, "seeds": 1, "samples": 50},
}


class CampaignRun:
    """One campaign, `mine`, in a folder of its own."""

    def __init__(self, folder: Path, data: Path, campaign: dict[str, Any] | None = None, **train: Any) -> None:
        split = {"images": str(data / "images")}
        recipe = RECIPE | {
            "data": {
                "train": split | {"annotations": str(data / "train.json")},
                "val": split | {"annotations": str(data / "val.json")},
                "lanes": 4,
            },
            "train": RECIPE["train"] | train,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "toy.yaml").write_text(yaml.safe_dump(recipe))
        (folder / "mine.yaml").write_text(yaml.safe_dump(CAMPAIGN | (campaign or {})))
        self.folder = folder
        self.ledger: Folder = LocalFolder(folder / "state" / "campaigns" / "mine")
        self.machine = "state"  # whose state folder it is, beside the files of the campaign

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "rayox", "tune", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"RAYOX_STATE": str(self.folder / self.machine), "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        with (self.folder / "log.txt").open("a") as log:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The last line of a command's output, as JSON."""
        process = self.start(*arguments, "--json")
        output, _ = process.communicate()
        assert process.returncode == code, (output, self.log())
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()[-4000:]

    def state(self) -> State:
        return read_state(open_journal(self.ledger, "ledger"))

    def records(self) -> list[dict[str, Any]]:
        return open_journal(self.ledger, "ledger").read()

    def kill_when(self, process: "subprocess.Popen[str]", is_time: Callable[[State], bool], limit: float = 900) -> None:
        """SIGKILL of the driver and of nobody else: what it has started ends by itself."""
        end = time.monotonic() + patient(limit)
        while not is_time(self.state()):
            assert process.poll() is None, self.log()
            assert time.monotonic() < end, (self.records(), self.log())
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def assert_each_once(run: CampaignRun, trials: int) -> None:
    """Every trial has one run, each epoch of it was reported once, and no finished one was begun again."""
    records = run.records()
    planned = [record["trial"] for record in records if record["kind"] == "planned"]
    assert planned == list(range(len(planned)))
    reports = [(record["trial"], record["epoch"]) for record in records if record["kind"] == "reported"]
    assert len(reports) == len(set(reports))
    ends = [record["trial"] for record in records if record["kind"] == "finished"]
    assert len(ends) == len(set(ends))
    for place, record in enumerate(records):
        if record["kind"] == "finished":
            later = [other for other in records[place + 1 :] if other.get("trial") == record["trial"]]
            assert not [other for other in later if other["kind"] in ("started", "reported")], later
    state = run.state()
    assert len(state.search) == trials
    assert not any(trial.state in ("running", "planned") for trial in state.trials)
