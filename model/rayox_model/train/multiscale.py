"""Multi-scale training: every ten steps the input takes another size near its own.

YOLOX (arXiv:2107.08430) Sec. 2.1 uses 448–832 for 640. Here the size is a pure function of (seed, step): every
worker draws the same without a broadcast, and a resumed run draws what the uninterrupted one did.
B images, N boxes, H and W pixels.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from rayox_model.core.structures import Targets

STRIDE = 32
STEPS_PER_SIZE = 10


def size_at(step: int, size: tuple[int, int], reach: tuple[int, int], seed: int) -> tuple[int, int]:
    """(height, width) with the height up to reach·32 pixels (below, above) from its own and the aspect kept.

    The first ten steps have the size itself.
    """
    draw = step // STEPS_PER_SIZE
    if not any(reach) or draw == 0:
        return size
    height, width = size[0] // STRIDE, size[1] // STRIDE
    rng = np.random.Generator(np.random.Philox(key=[seed, draw]))
    drawn = int(rng.integers(max(1, height - reach[0]), height + reach[1] + 1))
    return drawn * STRIDE, max(1, round(drawn * width / height)) * STRIDE


def resize(
    images: Float[Tensor, "B 3 H W"], targets: Targets, size: tuple[int, int]
) -> tuple[Float[Tensor, "B 3 h w"], Targets]:
    """Images bilinearly, boxes with them."""
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images, targets
    scale = targets.boxes.new_tensor([size[1] / width, size[0] / height] * 2)
    resized = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return resized, targets._replace(boxes=targets.boxes * scale)
