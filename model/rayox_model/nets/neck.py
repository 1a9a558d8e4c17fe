"""Necks: they run their backbone and mix its three scales.

B images, H and W the height and width of the input.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from rayox_model.nets.darknet import CSPDarknet, Darknet53, FeatureMaps
from rayox_model.nets.layers import ConvBlock, CSPLayer, LeakyReLU, conv3x3


class PAFPN(nn.Module):
    """Top-down, then bottom-up over CSPDarknet (PANet, arXiv:1803.01534, Sec. 3.1); returns (256, 512, 1024)·width.

    The attributes are named as in the official checkpoints: C3_p the top-down layers, C3_n the bottom-up ones.
    """

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        self.backbone = CSPDarknet(depth, width, depthwise=depthwise)
        small, middle, large = (int(channels * width) for channels in (256, 512, 1024))
        num_blocks = round(3 * depth)

        def mix(in_channels: int, out_channels: int) -> CSPLayer:
            return CSPLayer(in_channels, out_channels, num_blocks, shortcut=False, depthwise=depthwise)

        self.lateral_conv0 = ConvBlock(large, middle, 1)
        self.C3_p4 = mix(2 * middle, middle)
        self.reduce_conv1 = ConvBlock(middle, small, 1)
        self.C3_p3 = mix(2 * small, small)
        self.bu_conv2 = conv3x3(small, small, stride=2, depthwise=depthwise)
        self.C3_n3 = mix(2 * small, middle)
        self.bu_conv1 = conv3x3(middle, middle, stride=2, depthwise=depthwise)
        self.C3_n4 = mix(2 * middle, large)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> FeatureMaps:
        stride8, stride16, stride32 = self.backbone(images)
        top = self.lateral_conv0(stride32)
        middle = self.reduce_conv1(self.C3_p4(_join(_upsample(top), stride16)))
        out8 = self.C3_p3(_join(_upsample(middle), stride8))
        out16 = self.C3_n3(_join(self.bu_conv2(out8), middle))
        out32 = self.C3_n4(_join(self.bu_conv1(out16), top))
        return FeatureMaps(out8, out16, out32)


class FPN(nn.Module):
    """YOLOv3's top-down neck over Darknet-53 (arXiv:1804.02767, Sec. 2.3); returns 128, 256 and 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Darknet53()
        self.out1_cbl = ConvBlock(512, 256, 1, activation=LeakyReLU)
        self.out1 = _embedding(512 + 256, 256)
        self.out2_cbl = ConvBlock(256, 128, 1, activation=LeakyReLU)
        self.out2 = _embedding(256 + 128, 128)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> FeatureMaps:
        stride8, stride16, stride32 = self.backbone(images)
        out16 = self.out1(_join(_upsample(self.out1_cbl(stride32)), stride16))
        out8 = self.out2(_join(_upsample(self.out2_cbl(out16)), stride8))
        return FeatureMaps(out8, out16, stride32)


def _embedding(in_channels: int, channels: int) -> nn.Sequential:
    """Five blocks, 1×1 and 3×3 by turns, the 3×3 ones twice as wide."""
    return nn.Sequential(
        ConvBlock(in_channels, channels, 1, activation=LeakyReLU),
        ConvBlock(channels, 2 * channels, 3, activation=LeakyReLU),
        ConvBlock(2 * channels, channels, 1, activation=LeakyReLU),
        ConvBlock(channels, 2 * channels, 3, activation=LeakyReLU),
        ConvBlock(2 * channels, channels, 1, activation=LeakyReLU),
    )


def _upsample(features: Tensor) -> Tensor:
    return interpolate(features, scale_factor=2.0, mode="nearest")


def _join(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat((first, second), dim=1)
