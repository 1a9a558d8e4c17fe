"""A checkpoint is a folder: weights as safetensors, optimiser state, one JSON of facts, and a manifest written last.

A folder without a manifest, or whose files do not have the manifest's digests, is no checkpoint.
"""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rayox_model.engine import TrainState, settle
from rayox_model.errors import ModelError

FORMAT = 1
RAW, EMA, TRAINING, FACTS, MANIFEST = (
    "model.safetensors",
    "ema.safetensors",
    "training.pt",
    "checkpoint.json",
    "manifest.json",
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a checkpoint says of itself, beside its weights."""

    size: str  # the variant: nano … x, darknet53
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    step: int  # optimiser steps taken
    epoch: int  # epochs finished
    config: dict[str, Any]
    metrics: dict[str, float]


def save_checkpoint(parent: Path, state: TrainState, facts: Facts) -> Path:
    """Write parent/step-N whole or not at all; an older one of the same step is replaced. Returns its path.

    Raises NonFiniteError instead of keeping what follows a step whose loss was no number.
    """
    settle(state)
    final = parent / f"step-{facts.step:08d}"
    draft = parent / f".draft-{uuid.uuid4().hex[:8]}"
    draft.mkdir(parents=True)
    try:
        _write(draft, state, facts)
        if final.exists():
            shutil.rmtree(final)
        os.replace(draft, final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def _write(folder: Path, state: TrainState, facts: Facts) -> None:
    safetensors.torch.save_file(_plain(state.model.state_dict()), folder / RAW)
    safetensors.torch.save_file(_plain(state.ema.module.state_dict()), folder / EMA)
    training = {
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "ema_updates": state.ema.n_averaged,
    }
    torch.save(training, folder / TRAINING)
    (folder / FACTS).write_text(json.dumps({"format": FORMAT} | asdict(facts), indent=1))
    digests = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1))


def _plain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def restore(folder: Path, state: TrainState) -> Facts:
    """Put a checkpoint's raw and averaged weights, optimiser and scaler into state. Raises ModelError."""
    facts = read_facts(folder)
    state.model.load_state_dict(_tensors(folder / RAW))
    state.ema.module.load_state_dict(_tensors(folder / EMA))
    training = torch.load(folder / TRAINING, weights_only=True, map_location="cpu")
    state.ema.n_averaged.copy_(training["ema_updates"])
    state.optimizer.load_state_dict(training["optimizer"])
    state.scaler.load_state_dict(training["scaler"])
    state.step = facts.step
    return facts


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The weights to detect with. Raises ModelError when a file is not what the manifest says."""
    verify(folder)
    return _tensors(folder / EMA)


def read_facts(folder: Path) -> Facts:
    """Verify the folder, then read what it says of itself. Raises ModelError."""
    verify(folder)
    content = json.loads((folder / FACTS).read_text())
    if content.pop("format") != FORMAT:
        raise ModelError(f"{folder}: a checkpoint of another format", f"this rayox reads format {FORMAT}")
    content["classes"], content["image_size"] = tuple(content["classes"]), tuple(content["image_size"])
    return Facts(**content)


def verify(folder: Path) -> None:
    """Raises ModelError unless every file of the manifest is there with its digest."""
    for name, digest in _read_manifest(folder).items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            raise ModelError(
                f"{path}: {'damaged' if path.is_file() else 'missing'}; it is not what the checkpoint's manifest says",
                "use an earlier checkpoint of the run",
            )


def _read_manifest(folder: Path) -> dict[str, str]:
    """Digests by file name."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not isinstance(manifest, dict) or FACTS not in manifest:
            raise ValueError(f"it does not name {FACTS}")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder}: no checkpoint, or one cut off while it was written ({MANIFEST} is missing or unreadable)",
            "name a step-… folder of a run's checkpoints, or another one of them",
        ) from error
    return manifest


def newest_checkpoint(parent: Path) -> Path | None:
    """The checkpoint with the most steps that verifies, if there is one."""
    for folder in sorted(parent.glob("step-*"), reverse=True):
        try:
            verify(folder)
        except ModelError:
            continue
        return folder
    return None


def prune(parent: Path, keep: int) -> None:
    """Remove all checkpoints but the newest ones and the one of the best AP."""
    newest_first = sorted(parent.glob("step-*"), reverse=True)
    best = best_checkpoint(parent)
    for folder in newest_first[keep:]:
        if folder != best:
            shutil.rmtree(folder)


def best_checkpoint(parent: Path) -> Path | None:
    """The checkpoint of the highest AP, the older one of equals; None while none has been evaluated."""
    ap = {
        folder: json.loads((folder / FACTS).read_text())["metrics"].get("AP")
        for folder in sorted(parent.glob("step-*"))
    }
    evaluated = [folder for folder, value in ap.items() if value is not None]
    return max(evaluated, key=lambda folder: ap[folder], default=None)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: no readable weights: {error}", "use another checkpoint of the run") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
