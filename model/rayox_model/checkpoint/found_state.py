"""Finding a YOLOX network's weights in what trainers save: wrapped in dicts, under prefixes, averaged or not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

DARKNET53_STEM = "backbone.backbone.stem.0.conv.weight"
CSP_STEM = "backbone.backbone.stem.conv.conv.weight"

_DEEPEST = 5  # dicts in dicts
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|avg)(?![a-z])", re.IGNORECASE)
_FOREIGN = {  # a key that a layout has and no other: what it is of
    r"bbox_head\.multi_level_": "mmdetection's YOLOX",
    r"bbox_head\.": "mmdetection",
    r"backbone\.bottom_up\.|proposal_generator\.": "detectron2",
    r"backbone\.body\.": "torchvision",
    r"model\.\d+\.(conv|cv\d|m|dfl)\.": "Ultralytics (YOLOv5 and later)",
    r"transformer\.(encoder|decoder)\.|(encoder|decoder)\.layers\.\d+\.self_attn": "a transformer (DETR's kind)",
}


@dataclass(frozen=True)
class FoundState:
    """Weights by the official keys."""

    state: dict[str, Tensor]
    taken: str  # where in the file they were, if that is worth a word: averaged weights, a prefix


def find_state(payload: object) -> FoundState | None:
    """A YOLOX network's weights, averaged ones before others, the least wrapped first; None if there are none."""
    candidates = [found for path, tensors in _tensors(payload) for found in _networks(path, tensors)]
    averaged = [found for place, found in candidates if _AVERAGED.search(place)]
    others = [found for place, found in candidates if not _AVERAGED.search(place)]
    return next(iter([*averaged, *others]), None)


def any_keys(payload: object) -> list[str]:
    """Keys of the largest dict of tensors; empty where nothing like weights is in the file."""
    found = [list(tensors) for _, tensors in _tensors(payload)]
    return max(found, key=len, default=[])


def foreign_layout(keys: list[str]) -> str | None:
    """Whose layout the keys are of, if it is a known one."""
    return next((name for marker, name in _FOREIGN.items() if any(re.search(marker, key) for key in keys)), None)


def _tensors(value: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict in the payload that holds tensors, with the keys that lead to it."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return
    tensors = {str(key): item for key, item in value.items() if isinstance(item, Tensor)}
    if tensors:
        yield path, tensors
    for key, item in value.items():
        yield from _tensors(item, f"{path}.{key}" if path else str(key), depth + 1)


def _networks(path: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, FoundState]]:
    """Each network in a dict of tensors, with its place: a prefix that all of a network's keys share is left out."""
    plain = {_without_wrappers(key): tensor for key, tensor in tensors.items()}
    stems = (stem for stem in (CSP_STEM, DARKNET53_STEM))
    prefixes = [key.removesuffix(stem) for stem in stems for key in plain if key.endswith(stem)]
    for prefix in sorted({one for one in prefixes if one == "" or one.endswith(".")}, key=len):
        state = {key.removeprefix(prefix): tensor for key, tensor in plain.items() if key.startswith(prefix)}
        if prefix == "":
            state.pop("n_averaged", None)  # beside the weights of torch's AveragedModel
        place = ".".join(part for part in (path, prefix.rstrip(".")) if part)
        yield place, FoundState(_with_counters(state), _said(path, prefix))


def _said(path: str, prefix: str) -> str:
    parts = []
    if _AVERAGED.search(f"{path}.{prefix}"):
        parts.append(f"averaged weights ({'.'.join(filter(None, (path, prefix.rstrip('.'))))})")
    if prefix:
        parts.append(f"keys without {prefix!r}")
    return ", ".join(parts)


def _without_wrappers(key: str) -> str:
    """Without what DataParallel, torch.compile and FSDP put into names."""
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _with_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms count their batches, which some savers leave out and nothing needs."""
    for key in [key for key in state if key.endswith(".running_mean")]:
        state.setdefault(f"{key.removesuffix('running_mean')}num_batches_tracked", torch.tensor(0))
    return state
