"""Columns of samples, as `pack` makes and processes ship them, back as one training batch.

n samples of H × W pixels, at most G boxes each, N boxes in all.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from rayox_model.core.structures import Batch, Targets


def unpack(columns: Mapping[str, np.ndarray], epoch: int, pinned: bool = False) -> Batch:
    """Make a batch of columns named as in PackedSamples.

    Read-only columns (as Ray hands out, from memory shared by processes) are copied once, others are not. Pinned
    pixels (with CUDA only) are copied once too, and go to a GPU while it computes.
    """
    present = np.arange(columns["boxes"].shape[1]) < columns["num_boxes"][:, None]  # [n, G]
    image_index = np.ascontiguousarray(present.nonzero()[0])  # a column of pairs otherwise
    targets = Targets(
        boxes=torch.from_numpy(columns["boxes"][present]),
        labels=torch.from_numpy(columns["labels"][present].astype(np.int64)),
        image_index=torch.from_numpy(image_index),
    )
    return Batch(_as_tensor(columns["images"], pinned), targets, epoch)


def _as_tensor(array: UInt8[np.ndarray, "n H W 3"], pinned: bool) -> UInt8[Tensor, "n H W 3"]:
    if pinned:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of read-only arrays; this one is only copied from
            return torch.from_numpy(array).pin_memory()
    return torch.from_numpy(array if array.flags.writeable else array.copy())
