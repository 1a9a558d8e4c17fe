"""Record learning curves for the simulation of searches: settings drawn from simota × loss-weights, trained for real.

    python tests/bench/record_curves.py tests/bench/curves.json --settings 48 --seeds 6

One process on one core, an hour or two; killed and started again it goes on. The samples of a seed do not depend on
what is searched, so they are made once. The first setting is the base recipe's, and the base recipe is trained with
every seed; the others are drawn evenly (a Sobol sequence) and trained with the first one.
"""

import argparse
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from modes import rank_batches
from scipy.stats import qmc

from rayox.config import RECIPES
from rayox_model.detect.detector import TorchDetector
from rayox_model.train.engine import averaged_model, new_state, train
from rayox_platform.config import load_config
from rayox_platform.config.tree import Config
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.evaluation import evaluate_detector
from rayox_platform.models.open_model import new_model
from rayox_platform.train.from_config import engine_settings, evaluation_settings
from rayox_platform.train.stream_blocks import stream_plan
from rayox_platform.tune.campaign import Campaign

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
    "image_size": 160,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--settings", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=6)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    so_far = asked.output.with_suffix(".part")
    done = [json.loads(line) for line in so_far.read_text().splitlines()] if so_far.exists() else []
    wanted = [({}, seed) for seed in range(asked.seeds)] + [(values, 0) for values in _drawn(asked.settings - 1)]
    for values, seed in wanted[len(done) :]:
        done.append({"values": values, "seed": seed, "curve": curve(values, seed, so_far.parent)})
        with so_far.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(len(done), "of", len(wanted), done[-1], flush=True)
    base = [one["curve"] for one in done[: asked.seeds]]
    recorded = [{"values": _base_values(), "curve": base[0]}]
    recorded += [{"values": one["values"], "curve": one["curve"]} for one in done[asked.seeds :]]
    content = {"space": SPACE, "settings": SETTINGS, "recorded": recorded, "base_curves": base}
    asked.output.write_text(json.dumps(content).replace('{"values"', '\n {"values"') + "\n")
    so_far.unlink()


def curve(values: dict, seed: int, state_folder: Path) -> list[float]:
    """AP on the validation images after each epoch of a training with these settings."""
    config = _config(values, seed)
    device = torch.device("cpu")
    images, batches = _batches(seed, state_folder)
    _, val_images = resolve_split(str(config.data.val.annotations), config.data.val.images, state=state_folder)
    plan = stream_plan(config, len(images))
    engine = engine_settings(config, plan, "cpu")
    network, _ = new_model(config.model.size, images.dataset.classes, None, seed)
    state = new_state(network, engine, device)
    found = []
    for epoch in range(plan.epochs):
        first = epoch * plan.steps_per_epoch
        for _ in train(state, batches[first : first + plan.steps_per_epoch], engine, device):
            pass
        detector = TorchDetector(averaged_model(state), images.dataset.classes, config.image_size, device, "fp32")
        scores = evaluate_detector(detector, val_images, evaluation_settings(config)).scores.metrics
        found.append(round(scores.AP, 5))
    return found


@cache
def _batches(seed: int, state_folder: Path):
    config = _config({}, seed)
    _, images = resolve_split(str(config.data.train.annotations), config.data.train.images, state=state_folder)
    plan = replace(stream_plan(config, len(images)), window_steps=1)
    steps = range(plan.num_steps)
    return images, list(rank_batches(images, plan, config, 0, 1, torch.device("cpu"), steps))


def _config(values: dict, seed: int) -> Config:
    overrides = [f"{key}={value}" for key, value in (SETTINGS | values | {"train.seed": seed}).items()]
    return load_config("shapes", overrides, packaged=RECIPES, environ={}).config


def _base_values() -> dict:
    config = _config({}, 0)
    return {key: getattr(getattr(config, key.split(".")[0]), key.split(".")[1]) for key in SPACE}


def _drawn(count: int) -> list[dict]:
    """Settings spread evenly over the space."""
    dimensions = Campaign.model_validate({"space": SPACE, "budget": {"trials": 1}}).dimensions
    shares = qmc.Sobol(len(dimensions), seed=0).random(64)[:count]
    return [{one.key: one.at(float(share)) for one, share in zip(dimensions, row, strict=True)} for row in shares]


if __name__ == "__main__":
    main()
