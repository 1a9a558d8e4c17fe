"""The blocks the networks are made of; attribute names are those of the official checkpoints' keys.

B images, C input and D output channels, H and W the height and width of a feature map, H2 and W2 after a stride.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
SiLU: Activation = nn.SiLU
LeakyReLU: Activation = partial(nn.LeakyReLU, 0.1)


class ConvBlock(nn.Module):
    """Convolution without bias → batch norm → activation; "same" padding for odd kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        # Not torch's defaults: the values the published weights were trained and are evaluated with.
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03)
        self.act = activation()

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        out: Tensor = self.act(self.bn(self.conv(features)))
        return out


class DepthwiseConvBlock(nn.Module):
    """A 3×3 convolution of each channel alone, then a 1×1 across channels (MobileNets, arXiv:1704.04861, Sec. 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, activation: Activation = SiLU) -> None:
        super().__init__()
        self.dconv = ConvBlock(in_channels, in_channels, 3, stride, groups=in_channels, activation=activation)
        self.pconv = ConvBlock(in_channels, out_channels, 1, activation=activation)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        out: Tensor = self.pconv(self.dconv(features))
        return out


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, *, depthwise: bool, activation: Activation = SiLU
) -> nn.Module:
    """A 3×3 block, depthwise separable in nano."""
    if depthwise:
        return DepthwiseConvBlock(in_channels, out_channels, stride, activation)
    return ConvBlock(in_channels, out_channels, 3, stride, activation=activation)


class Bottleneck(nn.Module):
    """1×1 then 3×3 at one width, with an optional residual."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, channels, 1)
        self.conv2 = conv3x3(channels, channels, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        out: Tensor = self.conv2(self.conv1(features))
        return out + features if self.shortcut else out


class CSPLayer(nn.Module):
    """Half of the channels go through the bottlenecks, half go round them (CSPNet, arXiv:1911.11929, Sec. 3.2)."""

    def __init__(
        self, in_channels: int, out_channels: int, num_blocks: int, *, shortcut: bool, depthwise: bool
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = ConvBlock(in_channels, hidden, 1)
        self.conv2 = ConvBlock(in_channels, hidden, 1)
        self.conv3 = ConvBlock(2 * hidden, out_channels, 1)
        blocks = [Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise) for _ in range(num_blocks)]
        self.m = nn.Sequential(*blocks)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        through, around = self.m(self.conv1(features)), self.conv2(features)
        out: Tensor = self.conv3(torch.cat((through, around), dim=1))
        return out


class SPPBottleneck(nn.Module):
    """Max pooling over 5, 9 and 13 cells beside the input itself (SPP as in YOLOv4, arXiv:2004.10934, Sec. 3.4)."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = SiLU) -> None:
        super().__init__()
        hidden = in_channels // 2
        self.conv1 = ConvBlock(in_channels, hidden, 1, activation=activation)
        self.m = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in (5, 9, 13))
        self.conv2 = ConvBlock(4 * hidden, out_channels, 1, activation=activation)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        reduced = self.conv1(features)
        out: Tensor = self.conv2(torch.cat((reduced, *(pool(reduced) for pool in self.m)), dim=1))
        return out


class Focus(nn.Module):
    """Fold every 2×2 pixels into channels, then a 3×3 convolution: the stem of the CSP networks."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBlock(4 * in_channels, out_channels, 3)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        left, right = images[..., ::2], images[..., 1::2]
        # Column before row: top-left, bottom-left, top-right, bottom-right. The published weights expect this order.
        corners = (left[..., ::2, :], left[..., 1::2, :], right[..., ::2, :], right[..., 1::2, :])
        out: Tensor = self.conv(torch.cat(corners, dim=1))
        return out


class ResidualBlock(nn.Module):
    """1×1 to half the channels, 3×3 back, plus the input (Darknet-53: YOLOv3, arXiv:1804.02767, Sec. 2.4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer1 = ConvBlock(channels, channels // 2, 1, activation=LeakyReLU)
        self.layer2 = ConvBlock(channels // 2, channels, 3, activation=LeakyReLU)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        out: Tensor = self.layer2(self.layer1(features))
        return features + out
