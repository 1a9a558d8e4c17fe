"""Official checkpoints: reading them, telling size and classes from shapes, and giving a network other classes.

Key names and shapes are those of the published `.pth` files.
"""

import argparse
import pickle
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from rayox_model.checkpoint.found_state import CSP_STEM, DARKNET53_STEM, any_keys, find_state, foreign_layout
from rayox_model.core.coco_classes import COCO_CLASSES
from rayox_model.core.errors import ModelError
from rayox_model.nets.yolox import VARIANTS, YOLOX

CLASS_LAYERS = "head.cls_preds."
"""Keys of the only layers whose shape depends on the number of classes."""

_CLASS_BIAS = CLASS_LAYERS + "0.bias"

_GIVE = "give an official YOLOX .pth or a rayox checkpoint"

# Whatever torch's unpickler meets in bytes that are not a checkpoint comes out as one of these.
_LOAD_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
)

# Checkpoints of interrupted official training keep their best AP as a numpy number, pickled by numpy 1 or 2.
_numpy_scalar = cast(Callable[..., Any], np.float64(0).__reduce__()[0])
_NUMPY_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    argparse.Namespace,  # trainers keep their arguments so
]


@dataclass(frozen=True)
class PretrainedWeights:
    """A network's weights with what they are weights of."""

    source: str
    """Where they came from, for messages."""
    size: str
    """One of VARIANTS."""
    num_classes: int
    classes: tuple[str, ...] | None
    """Names in order of the class outputs; None when nobody wrote them down."""
    state: dict[str, Tensor]
    taken: str = ""
    """Which of the file's weights these are, where there was a choice to make."""


class NamelessClassesError(ModelError):
    """A file that does not say what its classes are called, and nobody else did."""


@dataclass(frozen=True)
class Transfer:
    """Which of a network's classes took their outputs over from the file, and which start afresh."""

    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    matched_by: Literal["name", "position"]
    """By position only when the file's names are unknown and it has as many classes as the network."""
    taken: str = ""
    """Which of the file's weights these are, where there was a choice to make."""


def read_pth(path: Path, classes: tuple[str, ...] | None = None) -> PretrainedWeights:
    """Read an official checkpoint, or another trainer's of such a network, on the CPU without running any code in it.

    A prefix that all its keys share is left out (`module.`, `_orig_mod.`, Lightning's `model.`); averaged weights are
    taken where a file has them; `taken` says so.

    `classes` names its outputs; without it a file of 80 is taken to be COCO's and any other to be nameless.
    Raises ModelError if the file is missing, broken, not finite, no YOLOX network, or has another number of classes.
    """
    payload = _load(path)
    found = find_state(payload)
    if found is None:
        raise _no_network(path, any_keys(payload))
    state = found.state
    size, num_classes = infer_size(state, str(path)), infer_num_classes(state, str(path))
    check_shapes(state, size, str(path))
    broken = next((key for key, value in state.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise ModelError(
            f"{path}: {broken} holds values that are not finite", "its training diverged: take an earlier one"
        )
    if classes is None and num_classes == len(COCO_CLASSES):
        classes = COCO_CLASSES
    if classes is not None and len(classes) != num_classes:
        raise ModelError(
            f"{path}: has {num_classes} classes, but {len(classes)} names were given for them", "give one name for each"
        )
    return PretrainedWeights(str(path), size, num_classes, classes, state, found.taken)


def _no_network(path: Path, keys: list[str]) -> ModelError:
    if not keys:
        return ModelError(f"{path}: holds no network weights", _GIVE)
    layout = foreign_layout(keys)
    if layout is not None:
        return ModelError(f"{path}: holds weights in the layout of {layout}, with keys like {keys[0]}", _GIVE)
    return ModelError(f"{path}: is not a YOLOX network, it has no {CSP_STEM}, but keys like {keys[0]}", _GIVE)


def _load(path: Path) -> object:
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "check the path of the weights")
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that then load, or fail and are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if named is not None:
            raise ModelError(
                f"{path}: holds objects of {named[1]}, which would run code when they are read",
                "save the weights alone where that code is at hand: torch.save(model.state_dict(), 'weights.pth')",
            ) from error
        raise ModelError(
            f"{path}: is not a checkpoint torch can read ({path.stat().st_size} bytes; {type(error).__name__})",
            "it may be cut short: compare its size with the original's and fetch it again",
        ) from error


def infer_size(state: Mapping[str, Tensor], source: str) -> str:
    """Tell the variant from its stem; `source` is for the ModelError raised when there is none."""
    if DARKNET53_STEM in state:
        return "darknet53"
    if CSP_STEM not in state:
        raise ModelError(f"{source}: is not a YOLOX network, it has no {CSP_STEM}", _GIVE)
    channels = state[CSP_STEM].shape[0]
    stems = {int(64 * variant.width): size for size, variant in VARIANTS.items() if size != "darknet53"}
    if channels not in stems:
        known = ", ".join(f"{size} {width}" for width, size in stems.items())
        raise ModelError(f"{source}: its stem has {channels} channels, those of the known sizes are {known}", _GIVE)
    return stems[channels]


def infer_num_classes(state: Mapping[str, Tensor], source: str) -> int:
    """Count the outputs of the class layers; ModelError names `source` when there are none."""
    if _CLASS_BIAS not in state or state[_CLASS_BIAS].ndim != 1:
        raise ModelError(f"{source}: is not a whole YOLOX network, it has no {_CLASS_BIAS}", _GIVE)
    return state[_CLASS_BIAS].shape[0]


def check_shapes(state: Mapping[str, Tensor], size: str, source: str) -> None:
    """Raise ModelError at the first key that does not fit a network of this size and its own number of classes."""
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        expected = YOLOX(size, infer_num_classes(state, source)).state_dict()
    for key, tensor in expected.items():
        if key not in state:
            raise ModelError(f"{source}: does not fit yolox-{size}: it has no {key} {list(tensor.shape)}", _GIVE)
        if state[key].shape != tensor.shape:
            shapes = f"{list(state[key].shape)} in the file, {list(tensor.shape)} in yolox-{size}"
            raise ModelError(f"{source}: does not fit yolox-{size}: {key} is {shapes}", _GIVE)
    unknown = next((key for key in state if key not in expected), None)
    if unknown is not None:
        raise ModelError(
            f"{source}: does not fit yolox-{size}: it has a key that no such network has, {unknown}", _GIVE
        )


def transfer(weights: PretrainedWeights, model: YOLOX, classes: tuple[str, ...]) -> Transfer:
    """Load every weight into a new network of the same size whose classes may be others.

    Class outputs are matched by name, whatever its case; the rest keep the network's own initialisation. Where the
    file's names are unknown they are matched by position if both have as many classes, and not at all otherwise.
    Raises ModelError for weights of another size, naming the first key that differs and both shapes.
    """
    assert len(classes) == model.num_classes
    if weights.size != model.size:
        _refuse_size(weights, model.size)
    rows, matched_by = _matching_rows(weights, classes)
    state = {key: value for key, value in weights.state.items() if not key.startswith(CLASS_LAYERS)}
    for key, own in model.state_dict().items():
        if key.startswith(CLASS_LAYERS):
            state[key] = own.clone()
            for new, old in rows.items():
                state[key][new] = weights.state[key][old]
    model.load_state_dict(state)
    matched = tuple(classes[new] for new in rows)
    fresh = tuple(name for new, name in enumerate(classes) if new not in rows)
    return Transfer(matched, fresh, matched_by, weights.taken)


def _refuse_size(weights: PretrainedWeights, size: str) -> None:
    try:
        check_shapes(weights.state, size, weights.source)
    except ModelError as error:
        raise ModelError(
            error.message, f"these are weights of yolox-{weights.size}: set model.size={weights.size}"
        ) from None


def _matching_rows(
    weights: PretrainedWeights, classes: tuple[str, ...]
) -> tuple[dict[int, int], Literal["name", "position"]]:
    """Index of each of the network's classes that the file has too → its index there."""
    if weights.classes is None:
        same_number = weights.num_classes == len(classes)
        return ({index: index for index in range(len(classes))} if same_number else {}), "position"
    known = {name.strip().casefold(): index for index, name in enumerate(weights.classes)}
    names = (name.strip().casefold() for name in classes)
    return {new: known[name] for new, name in enumerate(names) if name in known}, "name"
