"""Convolutions in bfloat16 as hardware for it computes them, on a CPU without: exact products, sums in fp32.

Such units multiply bfloat16 numbers, add up in fp32 and round the result once (AMX, AVX512-BF16, tensor cores). Rounded
arguments in an fp32 convolution give the same but for the order of the sum, at the speed of fp32; torch's own path on
such a CPU is nine times slower.
"""

from typing import Any

import torch
from torch import Tensor, nn

INSTALL = "bf16_convolutions.install"


def has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def install() -> None:
    """The first call of a training worker's process."""
    from rayox_platform.resources.preloading import import_all

    import_all()
    if not has_bf16():
        nn.Conv2d._conv_forward = _conv_forward


def _conv_forward(self: nn.Conv2d, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rest = self.stride, self.padding, self.dilation, self.groups
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return nn.functional.conv2d(features, weight, bias, *rest)
    return bf16_convolution(features.bfloat16(), weight.bfloat16(), bias, *rest)


def bf16_convolution(features: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    """Of bfloat16 arguments and result; the rest are stride, padding, dilation and groups."""
    out: Tensor = _Convolution.apply(features, weight, *rest)
    return out if bias is None else out + bias.bfloat16()[:, None, None]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rest = rest
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(features.float(), weight.float(), None, *rest).bfloat16()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = (saved.float() for saved in ctx.saved_tensors)
        stride, padding, dilation, groups = ctx.rest
        wanted = [ctx.needs_input_grad[0], True, False]
        with torch.autocast("cpu", enabled=False):
            of_features, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient.float(), features, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
            )
        return None if of_features is None else of_features.bfloat16(), of_weight.bfloat16(), *[None] * len(ctx.rest)
