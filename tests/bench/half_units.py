"""Convolutions in half precision as hardware for it computes them, on a CPU without: exact products, sums in fp32.

Such units multiply half-precision numbers, add up in fp32 and round the result once (AMX, AVX512-BF16, tensor cores).
Rounded arguments in an fp32 convolution give the same but for the order of the sum, at the speed of fp32; torch's own
path on such a CPU is nine times slower. A result beyond the format's range, 65,504 in fp16, is infinite as it is there.
"""

from typing import Any

import torch
from torch import Tensor, nn

INSTALL = "half_units.install"
HALF = (torch.bfloat16, torch.float16)


def has_units(dtype: torch.dtype) -> bool:
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def emulate_missing() -> None:
    """From here on this process computes convolutions in the formats it has no units for as such units do."""
    if not all(map(has_units, HALF)):
        nn.Conv2d._conv_forward = _conv_forward


def install() -> None:
    """The first call of a training worker's process."""
    from rayox_platform.ray_internals.preloading import import_all

    import_all()
    emulate_missing()


def _conv_forward(self: nn.Conv2d, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rest = self.stride, self.padding, self.dilation, self.groups
    dtype = torch.get_autocast_dtype("cpu")
    if not torch.is_autocast_enabled("cpu") or features.device.type != "cpu" or has_units(dtype):
        return nn.functional.conv2d(features, weight, bias, *rest)
    return half_convolution(features.to(dtype), weight.to(dtype), bias, *rest)


def half_convolution(features: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    """A convolution with half-precision arguments and result; the rest are stride, padding, dilation and groups."""
    out: Tensor = _Convolution.apply(features, weight, *rest)
    return out if bias is None else out + bias.to(out.dtype)[:, None, None]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rest = rest
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(features.float(), weight.float(), None, *rest).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        dtype = gradient.dtype
        features, weight = (saved.float() for saved in ctx.saved_tensors)
        stride, padding, dilation, groups = ctx.rest
        wanted = [ctx.needs_input_grad[0], True, False]
        with torch.autocast("cpu", enabled=False):
            of_features, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient.float(), features, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
            )
        return None if of_features is None else of_features.to(dtype), of_weight.to(dtype), *[None] * len(ctx.rest)
