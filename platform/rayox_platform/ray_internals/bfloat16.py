"""Whether torch computes convolutions in bfloat16 on this CPU at a gain. Where it cannot be asked, fp32 is taken."""

import torch

from rayox_platform.ray_internals.switch import attempt


def cpu_has_bfloat16() -> bool:
    return attempt(
        "question for bfloat16 on a CPU",
        lambda: bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        False,
    )
