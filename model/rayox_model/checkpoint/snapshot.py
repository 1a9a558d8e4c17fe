"""A checkpoint is a folder: weights as safetensors, optimiser state, one JSON of facts, and a manifest written last.

A folder without a manifest, or whose files do not have the manifest's digests, is not a checkpoint. Formats: 1, without
stream position, random states and versions; 2, with them; 3, with the network's kind beside its size. Every format that
was ever released is read.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.optim import Optimizer

from rayox_model.checkpoint.finite_values import check_finite
from rayox_model.core.errors import ModelError
from rayox_model.core.modes import open_to_others
from rayox_model.core.rng import rng_states, set_rng_states
from rayox_model.nets.spec import ModelSpec, spec_of
from rayox_model.train.engine import TrainState, settle
from rayox_model.train.optimizer import start_momentum

FORMAT = 3
RAW, EMA, TRAINING, FACTS, MANIFEST = (
    "model.safetensors",
    "ema.safetensors",
    "training.pt",
    "checkpoint.json",
    "manifest.json",
)
FILES = (RAW, EMA, TRAINING, FACTS)
DRAFT = ".draft-"  # how the name of a folder begins that is being written or taken away


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a checkpoint says of itself, beside its weights."""

    model: ModelSpec
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    step: int  # optimiser steps taken
    epoch: int  # epochs finished
    config: dict[str, Any]
    metrics: dict[str, float]
    operating: dict[str, Any] = field(default_factory=dict)  # thresholds chosen with the metrics; none without
    stream: dict[str, Any] = field(default_factory=dict)  # where the training stream goes on; see StreamPlan.position
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that made it


@dataclass(frozen=True)
class Snapshot:
    """All of a checkpoint, copied to the CPU: training may go on while it is written."""

    facts: Facts
    raw: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    training: Mapping[str, Any]  # optimiser, scaler, number of averaged steps
    rng: Mapping[str, Any]
    learnt: tuple[str, ...] = ()  # names of the optimiser's parameters, in its order


def take_snapshot(state: TrainState, facts: Facts) -> Snapshot:
    """Copy the state. Raises NonFiniteError instead of keeping what follows a step whose loss was not finite."""
    settle(state)
    training = {
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "ema_updates": state.ema.n_averaged,
    }
    raw, ema = _copied(dict(state.model.state_dict())), _copied(dict(state.ema.module.state_dict()))
    return Snapshot(facts, raw, ema, _copied(training), rng_states(), _learnt(state))


def _learnt(state: TrainState) -> tuple[str, ...]:
    names = {parameter: name for name, parameter in state.model.named_parameters()}
    return tuple(names[parameter] for group in state.optimizer.param_groups for parameter in group["params"])


def _copied(value: Any) -> Any:
    """The same nesting with every tensor copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def write_checkpoint(parent: Path, snapshot: Snapshot) -> Path:
    """Write parent/step-N whole or not at all, an older one of the same step replaced. Returns its path.

    What is named step-N has reached the disk: a power cut leaves the old folder or the new one. Raises OSError when it
    cannot be written, and TrainingError when a value in it is not finite; then nothing is left of it.
    """
    parts = {"weights": snapshot.raw, "averaged weights": snapshot.ema, **snapshot.training}
    check_finite(snapshot.facts.step, parts, snapshot.learnt)
    final = parent / f"step-{snapshot.facts.step:08d}"
    draft, replaced = (parent / f"{DRAFT}{uuid.uuid4().hex[:8]}" for _ in range(2))
    draft.mkdir(parents=True)
    try:
        _write(draft, snapshot)
        if final.exists():
            os.replace(final, replaced)
        os.replace(draft, final)
        _sync(parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    return final


def _write(folder: Path, snapshot: Snapshot) -> None:
    try:
        safetensors.torch.save_file(dict(snapshot.raw), folder / RAW)
        safetensors.torch.save_file(dict(snapshot.ema), folder / EMA)
        torch.save(dict(snapshot.training), folder / TRAINING)
        for name in (RAW, EMA):
            open_to_others(folder / name)
    except (SafetensorError, RuntimeError) as error:  # what they make of a full disk
        raise OSError(f"cannot write to {folder.parent}: {error}") from error
    facts = {"format": FORMAT} | asdict(snapshot.facts) | {"rng": dict(snapshot.rng)}
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    digests = {name: _sha256(folder / name) for name in FILES}
    for name in FILES:
        _sync(folder / name)
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1))
    _sync(folder / MANIFEST)
    _sync(folder)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Verified:
    """A checkpoint folder whose files were found to be what its manifest says: verify makes them.

    Handed on, it saves whoever gets it the reading and hashing of every file.
    """

    folder: Path

    @property
    def facts(self) -> Facts:
        """What it says of itself. Raises ModelError for a format that only a newer rayox reads."""
        return self._content[0]

    @property
    def rng(self) -> dict[str, Any]:
        """The random states, which format 1 does not have."""
        return self._content[1]

    @cached_property
    def _content(self) -> tuple[Facts, dict[str, Any]]:
        return _read_facts(self.folder)


def restore(checkpoint: Path | Verified, state: TrainState) -> Facts:
    """Put a checkpoint's raw and averaged weights, optimiser, scaler and random states into state. Raises ModelError.

    Nothing of state is changed unless everything is as the manifest says.
    """
    whole = verified(checkpoint)
    folder, facts = whole.folder, whole.facts
    raw, ema = _tensors(folder / RAW), _tensors(folder / EMA)
    training = torch.load(folder / TRAINING, weights_only=True, map_location="cpu")
    state.model.load_state_dict(raw)
    state.ema.module.load_state_dict(ema)
    state.ema.n_averaged.copy_(training["ema_updates"])
    state.optimizer.load_state_dict(training["optimizer"])
    _lay_out_like_parameters(state.optimizer)
    start_momentum(state.optimizer)
    if training["scaler"]:  # a run in another precision, as train.precision=auto of another machine, has none
        state.scaler.load_state_dict(training["scaler"])
    state.step = facts.step
    if whole.rng:
        set_rng_states(whole.rng)
    return facts


def _lay_out_like_parameters(optimizer: Optimizer) -> None:
    """Moments in the parameters' memory format: the fused kernels walk through both by address, not by index."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def averaged_weights(checkpoint: Path | Verified) -> dict[str, Tensor]:
    """The weights to detect with. Raises ModelError when a file is not what the manifest says."""
    return _tensors(verified(checkpoint).folder / EMA)


def read_facts(folder: Path) -> Facts:
    """Verify the folder, then read what it says of itself. Raises ModelError."""
    return verify(folder).facts


def _read_facts(folder: Path) -> tuple[Facts, dict[str, Any]]:
    content = json.loads((folder / FACTS).read_text())
    form = content.pop("format")
    if form not in range(1, FORMAT + 1):
        raise ModelError(
            f"{folder}: a checkpoint of format {form}", f"this rayox reads formats 1 to {FORMAT}; use a newer rayox"
        )
    if form < 3:
        content["model"] = {"kind": "yolox", "size": content.pop("size")}
    content["model"] = spec_of(content["model"])
    rng = content.pop("rng", {})
    content["classes"], content["image_size"] = tuple(content["classes"]), tuple(content["image_size"])
    return Facts(**content), rng


def verified(checkpoint: Path | Verified) -> Verified:
    """Like verify, for one that may have been verified already."""
    return checkpoint if isinstance(checkpoint, Verified) else verify(checkpoint)


def verify(folder: Path) -> Verified:
    """Hash every file. Raises ModelError unless all of the manifest are there with their digests."""
    for name, digest in _read_manifest(folder).items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            raise ModelError(
                f"{path}: {'damaged' if path.is_file() else 'missing'}; it is not what the checkpoint's manifest says",
                "use an earlier checkpoint of the run",
            )
    return Verified(folder)


def _read_manifest(folder: Path) -> dict[str, str]:
    """Digests by file name."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not isinstance(manifest, dict) or set(manifest) != set(FILES):
            raise ValueError(f"it does not name {', '.join(FILES)}")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder}: no checkpoint, or one cut off while it was written ({MANIFEST} is missing or unreadable)",
            "give a run's checkpoint folder (step-…), or another checkpoint of the run",
        ) from error
    return manifest


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: no readable weights: {error}", "use another checkpoint of the run") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
