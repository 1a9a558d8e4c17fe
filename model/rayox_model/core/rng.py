"""The states of the random generators a process shares, as JSON: kept in a checkpoint, set again at a resume.

rayox itself draws nothing from them while it trains: a sample's numbers come from (seed, epoch, index), an input size
from (seed, step). They are kept for layers and code that do.
"""

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def rng_states() -> dict[str, Any]:
    """The random states of Python, numpy and torch, with every CUDA device of this process."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002  # whoever draws from it
    version, words, gauss = random.getstate()
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, _text(np.asarray(keys).tobytes()), position, has_gauss, cached],
        "torch": _text(torch.get_rng_state().numpy().tobytes()),
        "cuda": [_text(state.numpy().tobytes()) for state in _cuda_states()],
    }


def set_rng_states(states: dict[str, Any]) -> None:
    """Go on where rng_states was taken; CUDA devices that were not there then keep their own."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.frombuffer(base64.b64decode(keys), np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(_tensor(states["torch"]))
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(_tensor(state), device)


def _cuda_states() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
