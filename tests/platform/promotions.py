"""A registry with two trained-looking runs on the toy data, for what promotes them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from rayox_platform.config.tree import Config
from rayox_platform.promote.gate_settings import read_gate
from rayox_platform.promote.judge import Asked
from rayox_platform.promote.promote import Promoted, promote
from rayox_platform.track.registration import register
from rayox_platform.track.registry import Version
from rayox_platform.track.tracking import connect, open_run

TAGS = {"classes": "dim, bright", "data.train.fingerprint": "f" * 64, "version.rayox": "0.1.0"}


@dataclass(frozen=True)
class Registry:
    """A state folder whose registry has a model `shapes` of two versions that differ a little."""

    state: Path
    versions: tuple[Version, Version]
    onnx: Path  # of the first
    gate: Path  # which any network passes
    data: tuple[str, str]  # overrides


def make_registry(folder: Path, toy_onnx: Path, toy_data: Path) -> Registry:
    store = connect(None, folder / "state", "rayox")
    files = {"a-run": toy_onnx, "b-run": another_network(toy_onnx, folder / "other" / "model.onnx")}
    params = {f"data.{split}.annotations": str(toy_data / f"{split}.json") for split in ("train", "val")}
    params |= {f"data.{split}.images": str(toy_data / "images") for split in ("train", "val")}
    made = []
    for name, path in files.items():
        tracking = open_run(store, name, params, TAGS)
        made.append(register(tracking, "shapes", path, {"AP": 0.25}, 12, {"AP": "0.2500", "run": name}))
    gate = folder / "gate.yaml"
    gate.write_text("floors: {}\nclasses: {largest_drop: null}\nchange: {resamples: 100, margin: 1}\n")
    data = (f"data.val.annotations={toy_data / 'val.json'}", f"data.val.images={toy_data / 'images'}")
    return Registry(folder / "state", (made[0], made[1]), toy_onnx, gate, data)


def another_network(source: Path, path: Path, scale: float = 1.01) -> Path:
    """The same network with its first weights scaled: other bytes, other detections."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = numpy_helper.to_array(weights) * np.float32(scale)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(model, path)
    return path


def promote_now(
    registry: Registry,
    model: str,
    name: str,
    config: Config | None = None,
    overrides: dict[str, str] | None = None,
) -> Promoted:
    """A promotion that says nothing."""
    asked = Asked(model, name, read_gate(registry.gate), overrides=overrides)
    return promote(asked, config or Config(), registry.state, lambda *_: None, lambda _: lambda *_: None)
