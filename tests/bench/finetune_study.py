"""Compare recipes for fine-tuning on small data sets: AP on val and test of the averaged model after the last epoch.

    python tests/bench/finetune_study.py RESULTS.jsonl --sets bccd rbc_wbc --seeds 0 1 2 --variants published adamw

One process on one core, without Ray: every lane's samples are made by threads. A run that RESULTS already has is not
trained again, so it can be killed and started again. Prints a table of means over seeds, paired with `published`.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import numpy as np
import torch
from modes import rank_batches

from rayox.config import RECIPES
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import TorchDetector
from rayox_model.train.engine import averaged_model, new_state, train
from rayox_platform.config import load_config
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.resolve import resolve_split
from rayox_platform.evaluate.evaluation import evaluate_detector
from rayox_platform.evaluate.metrics import matched
from rayox_platform.evaluate.operating import choose_thresholds
from rayox_platform.models.open_model import new_model
from rayox_platform.train.from_config import engine_settings, evaluation_settings
from rayox_platform.train.stream_blocks import stream_plan

SHARED = Path(__file__).parents[2].parent / "shared/data"
WEIGHTS = SHARED / "weights/yolox_nano_bncal.pth"
SGD = ("train.optimizer=sgd", "train.learning_rate=1.5625e-4", "train.ema.decay=0.9998", "train.weight_decay=5e-4")
RTMDET = ("train.optimizer=adamw", "train.learning_rate=1.5625e-5", "train.weight_decay=0.05")
VARIANTS: dict[str, tuple[str, ...]] = {
    "published": SGD,
    "adamw": (*SGD, "train.optimizer=adamw"),
    "adamw 5e-5": (*SGD, "train.optimizer=adamw", "train.learning_rate=5e-5"),
    "adamw 5e-5 decay 0.05": (*RTMDET, "train.learning_rate=5e-5"),
    "rtmdet": RTMDET,  # arXiv:2212.07784: AdamW, 0.004 at batch 256, decay 0.05
    "sgd clip 20": (*SGD, "train.clip_grad_norm=20"),
    "adamw clip 20": (*SGD, "train.optimizer=adamw", "train.clip_grad_norm=20"),
    "sgd ema 0.998": (*SGD, "train.ema.decay=0.998"),
    "adamw ema 0.998": (*SGD, "train.optimizer=adamw", "train.ema.decay=0.998"),
    "adamw mosaic 1": (*SGD, "train.optimizer=adamw", "augment.mosaic_prob=1"),
    "adamw closing 5": (*SGD, "train.optimizer=adamw", "train.closing_epochs=5"),
    "sgd 6e-4": (*SGD, "train.learning_rate=6.25e-4"),
    "sgd 6e-4 ema 0.998": (*SGD, "train.learning_rate=6.25e-4", "train.ema.decay=0.998"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="+", default=["bccd", "rbc_wbc"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=["published", "adamw"], choices=list(VARIANTS))
    parser.add_argument("--settings", nargs="*", default=[], help="for all, as image_size=320")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    done = {_key(one): one for one in _read(asked.results)}
    for seed in asked.seeds:
        for name in asked.sets:
            for variant in asked.variants:
                wanted = {"set": name, "seed": seed, "variant": variant, "settings": asked.settings}
                if _key(wanted) in done:
                    continue
                found = wanted | _trained(name, seed, (*VARIANTS[variant], *asked.settings), asked.results.parent)
                done[_key(found)] = found
                with asked.results.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                print(found, flush=True)
    _table([one for one in done.values() if one["settings"] == asked.settings])


def _trained(name: str, seed: int, settings: tuple[str, ...], state_folder: Path) -> dict[str, Any]:
    began = perf_counter()
    data = SHARED / name
    overrides = [f"model.init={WEIGHTS}", f"train.seed={seed}", "train.workers=1", *settings]
    for split in ("train", "val"):
        overrides += [f"data.{split}.annotations={data}/annotations/instances_{split}.json"]
        overrides += [f"data.{split}.images={data}/images"]
    config = load_config("finetune", overrides, packaged=RECIPES, environ={}).config
    device = torch.device("cpu")
    _, images = resolve_split(str(config.data.train.annotations), config.data.train.images, state=state_folder)
    plan = replace(stream_plan(config, len(images)), window_steps=1)
    engine = engine_settings(config, plan, "cpu")
    network, _ = new_model(config.model.size, images.dataset.classes, config.model.init, seed)
    state = new_state(network, engine, device)
    batches = rank_batches(images, plan, config, 0, 1, device, range(plan.num_steps))
    for _ in train(state, batches, engine, device):
        pass
    detector = TorchDetector(averaged_model(state), images.dataset.classes, config.image_size, device, "fp32")
    found: dict[str, Any] = {}
    for split in ("val", "test"):
        annotations = str(data / f"annotations/instances_{split}.json")
        _, held_out = resolve_split(annotations, data / "images", state=state_folder)
        evaluation = evaluate_detector(detector, held_out, evaluation_settings(config))
        found[split] = round(evaluation.scores.metrics.AP, 4)
        if split == "val":
            operating = choose_thresholds(held_out.dataset, evaluation.detections)
            rules = {"of each class": operating.of(held_out.dataset.classes)}
            rules |= {f"{value} for all": np.full(len(held_out.dataset.classes), value) for value in (0.25, 0.5)}
    found["shown"] = {name: _shown(held_out.dataset, evaluation.detections, rule) for name, rule in rules.items()}
    return found | {"seconds": round(perf_counter() - began)}


def _shown(dataset: CocoDataset, detections: Mapping[int, Detections], thresholds: np.ndarray) -> dict[str, float]:
    """Precision and recall at IoU 0.5 of what is shown from a threshold of each class on, and their F1."""
    verdicts = matched(dataset, detections, 0.5)
    in_order = [one for _, one in sorted(detections.items())]
    scores, labels = (np.concatenate([getattr(one, part) for one in in_order]) for part in ("scores", "labels"))
    shown = (scores >= thresholds[labels]) & (verdicts != "")
    hits, wanted = int((verdicts[shown] == "tp").sum()), int((~dataset.iscrowd).sum())
    precision, recall = hits / max(int(shown.sum()), 1), hits / wanted
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"precision": round(precision, 3), "recall": round(recall, 3), "F1": round(f1, 3)}


def _table(results: list[dict]) -> None:
    base = {(one["set"], one["seed"]): one for one in results if one["variant"] == "published"}
    grouped = defaultdict(list)
    for one in results:
        grouped[one["set"], one["variant"]].append(one)
    print("\n| data | variant | seeds | val AP | test AP | test − published |\n|---|---|---|---|---|---|")
    for (name, variant), runs in grouped.items():
        gains = [one["test"] - base[name, one["seed"]]["test"] for one in runs if (name, one["seed"]) in base]
        spread = f" ± {stdev(gains) / len(gains) ** 0.5:.3f}" if len(gains) > 1 else ""
        val, test = (mean(one[split] for one in runs) for split in ("val", "test"))
        gain = f"{mean(gains):+.3f}{spread}" if gains else "–"
        print(f"| {name} | {variant} | {len(runs)} | {val:.3f} | {test:.3f} | {gain} |")


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(one: dict) -> tuple:
    return one["set"], one["seed"], one["variant"], tuple(one["settings"])


if __name__ == "__main__":
    main()
