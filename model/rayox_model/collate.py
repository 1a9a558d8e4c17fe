"""Columns of samples, as `pack` makes and processes ship them, back as one training batch.

n samples of H × W pixels, at most G boxes each, N boxes in all.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from rayox_model.structures import Batch, Targets


def unpack(columns: Mapping[str, np.ndarray], epoch: int) -> Batch:
    """Make a batch of columns named as in PackedSamples.

    Read-only columns (as Ray hands out, from memory shared by processes) are copied once, others are not.
    """
    present = np.arange(columns["boxes"].shape[1]) < columns["num_boxes"][:, None]  # [n, G]
    image_index = np.ascontiguousarray(present.nonzero()[0])  # a column of pairs otherwise
    targets = Targets(
        boxes=torch.from_numpy(columns["boxes"][present]),
        labels=torch.from_numpy(columns["labels"][present].astype(np.int64)),
        image_index=torch.from_numpy(image_index),
    )
    return Batch(_as_tensor(columns["images"]), targets, epoch)


def _as_tensor(array: UInt8[np.ndarray, "n H W 3"]) -> UInt8[Tensor, "n H W 3"]:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
