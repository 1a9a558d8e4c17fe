"""A state with a value that is not finite is never written as a checkpoint: it would be the newest good one."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from rayox_model.core.errors import TrainingError


def check_finite(step: int, parts: Mapping[str, Any], learnt: tuple[str, ...]) -> None:
    """Raise TrainingError, naming the first of them, when some tensors of a checkpoint's parts are not finite.

    Parts are nested dicts and lists by name; learnt are the names of the optimiser's parameters, in its order.
    """
    poisoned = [(_named(path, learnt), value) for path, value in _numbers(parts, ()) if not _is_finite(value)]
    if not poisoned:
        return
    name, value = poisoned[0]
    count = f"{int((~torch.isfinite(value)).sum())} of {value.numel()}" if isinstance(value, Tensor) else str(value)
    others = f", and {len(poisoned) - 1} other tensors" if len(poisoned) > 1 else ""
    raise TrainingError(
        f"the checkpoint of step {step} is not written, as the training has diverged: {name} holds values that are "
        f"not finite ({count}){others}",
        "the last good checkpoint is kept; lower train.learning_rate, set train.clip_grad_norm or train.precision=fp32",
    )


def _is_finite(value: Tensor | float) -> bool:
    return bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else math.isfinite(value)


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor | float]]:
    """Every tensor and number in a nesting, with the names that lead to it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _numbers(inner, (*path, str(place)))
    elif isinstance(value, float) or (isinstance(value, Tensor) and value.is_floating_point()):
        yield path, value


def _named(path: tuple[str, ...], learnt: tuple[str, ...]) -> str:
    """In words; the optimiser knows its parameters by number."""
    if path[:2] == ("optimizer", "state") and int(path[2]) < len(learnt):
        return f"the optimiser's {path[3]} of {learnt[int(path[2])]}"
    return " ".join(path)
