"""A convolution whose weight gradient on a CPU is a product of matrices, in about two thirds of oneDNN's time.

B images, C input and D output channels, K the kernel's side, H and W the height and width of a feature map, H2 and W2
those of the output, R the number of rows of which a kernel sees one at a time.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

NARROW = 32  # fewer columns of a matrix do not gain
ON_AVX2 = torch.backends.cpu.get_cpu_capability() == "AVX2"  # wider vectors have newer kernels; not measured there


class Convolution(nn.Conv2d):
    """A square Conv2d without bias: the same results, but for the order of sums in the weight's gradient.

    oneDNN (3.11, on AVX2) computes that with an older kernel, at half the speed of the output and of the input's
    gradient. Only kernels larger than 1×1 gain from another way, in fp32 training on such a CPU with channels last.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int) -> None:
        padding = kernel_size // 2
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        wide = min(kernel_size * in_channels, out_channels) >= NARROW
        self.is_large = kernel_size > 1 and groups == 1 and wide

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        if not self.is_large or not _gains(features, self.weight):
            return super().forward(features)
        out: Tensor = _Convolve.apply(features, self.weight, self.stride[0], self.padding[0])
        return out


def _gains(features: Tensor, weight: Tensor) -> bool:
    return (
        ON_AVX2
        and features.device.type == "cpu"
        and torch.is_grad_enabled()
        and weight.requires_grad
        and features.dtype == weight.dtype == torch.float32
        and features.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(features, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        features, weight = ctx.saved_tensors
        of_features = None
        if ctx.needs_input_grad[0]:
            of_features = conv2d_input(  # type: ignore[no-untyped-call]
                features.shape, weight, gradient, ctx.stride, ctx.padding
            )
        of_weight = weight_gradient(features, gradient, weight.shape[2], ctx.stride, ctx.padding)
        return of_features, of_weight, None, None


def weight_gradient(
    features: Float[Tensor, "B C H W"],
    gradient: Float[Tensor, "B D H2 W2"],
    kernel_size: int,
    stride: int,
    padding: int,
) -> Float[Tensor, "D C K K"]:
    """Of a square convolution without groups and dilation, from its input and its output's gradient."""
    height, width = gradient.shape[2:]
    outer = gradient.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)  # [B, D, H2·W2]
    # The rows of a kernel see the same neighbours, shifted; with a stride S those of every S-th row.
    every = [_neighbours(features, kernel_size, stride, padding, width, first) for first in range(stride)]
    out = features.new_empty(gradient.shape[1], kernel_size, kernel_size * features.shape[1])
    for row in range(kernel_size):
        shift = row // stride
        around = every[row % stride][:, shift : shift + height].flatten(1, 2)  # [B, H2·W2, K·C]
        torch.sum(torch.bmm(outer, around), 0, out=out[:, row])
    weight = out.view(-1, kernel_size, kernel_size, features.shape[1])
    return weight.permute(0, 3, 1, 2)  # channels last in memory, as the layer's is


def _neighbours(
    features: Float[Tensor, "B C H W"], kernel_size: int, stride: int, padding: int, width: int, first: int
) -> Float[Tensor, "B R W2 KC"]:
    """What a kernel's row sees from each of width places: in every stride-th row of the padded input, from first."""
    images, channels, height, _ = features.shape
    num_rows = len(range(first, height + 2 * padding, stride))
    out = features.new_empty(images, num_rows, width, kernel_size, channels)
    inner = features.permute(0, 2, 3, 1)
    rows, from_rows = _inside(num_rows, stride, first - padding, height)
    _zero_outside(out, 1, rows)
    inner, within = inner[:, from_rows], out[:, rows]
    for tap, seen in enumerate(within.unbind(3)):
        columns, from_columns = _inside(width, stride, tap - padding, inner.shape[2])
        _zero_outside(seen, 2, columns)
        seen[:, :, columns].copy_(inner[:, :, from_columns])
    return out.flatten(3)


def _zero_outside(values: Tensor, dim: int, inside: slice) -> None:
    for start, end in ((0, inside.start), (inside.stop, values.shape[dim])):
        if start < end:
            values.narrow(dim, start, end - start).zero_()


def _inside(count: int, stride: int, offset: int, size: int) -> tuple[slice, slice]:
    """Which of 0 … count - 1 lie at stride·i + offset within size, and where."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(first * stride + offset, (last - 1) * stride + offset + 1, stride)
