"""Whether torch computes convolutions in bfloat16 on this CPU at a gain.

It buys 1.2 to 1.5 times the images per second of fp32 on such a CPU for `train.precision=auto` (tests/bench/README.md).
Where it cannot be asked, and on plain Ray, fp32 is taken: there the weights are others.
"""

import torch

from rayox_platform.ray_internals.switch import attempt


def cpu_has_bfloat16() -> bool:
    return attempt(
        "question for bfloat16 on a CPU",
        lambda: bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        False,
    )
