"""Record learning curves for the simulation of searches: settings drawn from simota × loss-weights, trained for real.

    python tests/bench/record_curves.py tests/bench/curves.json --settings 48 --seeds 5

It is an ordinary campaign (random, every trial whole) and can be killed and started again; about two hours on two
cores. The base recipe is trained with more seeds by the confirmation of a second campaign without a search.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from rayox_platform.tune.home import find_campaign
from rayox_platform.tune.ledger import read_state

SPACE = {
    "assigner.center_radius": {"float": [0.5, 3.5]},
    "assigner.top_k": {"int": [5, 20]},
    "assigner.iou_cost_weight": {"log": [0.5, 10]},
    "loss.iou": {"log": [1, 20]},
    "loss.objectness": {"log": [0.25, 4]},
    "loss.classification": {"log": [0.25, 4]},
}
SETTINGS = {
    "train.epochs": 9,
    "train.closing_epochs": 3,
    "train.warmup_epochs": 1,
    "train.workers": 1,
    "train.evaluate_every": 1,
    "image_size": 160,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--settings", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    curves = _campaign("curves", {"search": "random", "budget": asked.settings}, asked.output.parent)
    seeds = []
    for seed in range(1, asked.seeds):
        fixed = {"search": "random", "budget": 1, "set": SETTINGS | {"train.seed": seed}}
        seeds += _campaign(f"curves-base-{seed}", fixed, asked.output.parent)
    recorded = [{"values": dict(trial.values), "curve": _curve(trial)} for trial in curves]
    content = {"space": SPACE, "recorded": recorded, "base_curves": [_curve(trial) for trial in seeds]}
    asked.output.write_text(json.dumps(content, indent=1))


def _campaign(name: str, changed: dict, folder: Path) -> list:
    """The trials of a campaign that is run to its end, or on from where it was killed."""
    whole = {"recipe": "shapes", "set": SETTINGS, "space": SPACE, "schedule": "none", "confirm": {"top": 0}} | changed
    file = folder / f".{name}.yaml"
    file.write_text(yaml.safe_dump(whole))
    begun = Path(os.environ.get("RAYOX_STATE", ".rayox"), "campaigns", name, "ledger.jsonl").exists()
    resume = ["--resume"] if begun else []
    subprocess.run([sys.executable, "-m", "rayox", "tune", str(file), "--name", name, *resume], check=True)
    file.unlink()
    return [trial for trial in read_state(find_campaign(None, name).journal()).search if trial.state == "finished"]


def _curve(trial) -> list[float]:
    return [round(trial.reports[epoch]["AP"], 5) for epoch in sorted(trial.reports)]


if __name__ == "__main__":
    main()
