"""Backbones: CSPDarknet of YOLOX nano to x, and the Darknet-53 of YOLOv3.

B images, H and W the height and width of the input; C8, H8, W8 the channels, height and width at stride 8, and so on.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from rayox_model.nets.layers import ConvBlock, CSPLayer, Focus, LeakyReLU, ResidualBlock, SPPBottleneck, conv3x3


class FeatureMaps(NamedTuple):
    """Three maps of one batch, at strides 8, 16 and 32."""

    stride8: Float[Tensor, "B C8 H8 W8"]
    stride16: Float[Tensor, "B C16 H16 W16"]
    stride32: Float[Tensor, "B C32 H32 W32"]


class CSPDarknet(nn.Module):
    """The backbone of YOLOX (arXiv:2107.08430, Sec. 2.2), taken over from YOLOv5; returns 4, 8 and 16 base widths."""

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        channels = int(width * 64)
        num_blocks = max(round(depth * 3), 1)
        self.stem = Focus(3, channels)
        self.dark2 = _stage(channels, num_blocks, depthwise)
        self.dark3 = _stage(2 * channels, 3 * num_blocks, depthwise)
        self.dark4 = _stage(4 * channels, 3 * num_blocks, depthwise)
        last = 16 * channels
        self.dark5 = nn.Sequential(
            conv3x3(8 * channels, last, stride=2, depthwise=depthwise),
            SPPBottleneck(last, last),
            CSPLayer(last, last, num_blocks, shortcut=False, depthwise=depthwise),
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> FeatureMaps:
        stride8 = self.dark3(self.dark2(self.stem(images)))
        stride16 = self.dark4(stride8)
        return FeatureMaps(stride8, stride16, self.dark5(stride16))


def _stage(in_channels: int, num_blocks: int, depthwise: bool) -> nn.Sequential:
    """Halve the map, double the channels, then one CSP layer with residuals."""
    out_channels = 2 * in_channels
    return nn.Sequential(
        conv3x3(in_channels, out_channels, stride=2, depthwise=depthwise),
        CSPLayer(out_channels, out_channels, num_blocks, shortcut=True, depthwise=depthwise),
    )


class Darknet53(nn.Module):
    """The backbone of YOLOv3 (arXiv:1804.02767, Sec. 2.4) with an SPP block; returns 256, 512 and 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 32, 3, activation=LeakyReLU), *_residual_stage(32, num_blocks=1))
        self.dark2 = nn.Sequential(*_residual_stage(64, num_blocks=2))
        self.dark3 = nn.Sequential(*_residual_stage(128, num_blocks=8))
        self.dark4 = nn.Sequential(*_residual_stage(256, num_blocks=8))
        self.dark5 = nn.Sequential(
            *_residual_stage(512, num_blocks=4),
            ConvBlock(1024, 512, 1, activation=LeakyReLU),
            ConvBlock(512, 1024, 3, activation=LeakyReLU),
            SPPBottleneck(1024, 512, activation=LeakyReLU),
            ConvBlock(512, 1024, 3, activation=LeakyReLU),
            ConvBlock(1024, 512, 1, activation=LeakyReLU),
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> FeatureMaps:
        stride8 = self.dark3(self.dark2(self.stem(images)))
        stride16 = self.dark4(stride8)
        return FeatureMaps(stride8, stride16, self.dark5(stride16))


def _residual_stage(in_channels: int, num_blocks: int) -> list[nn.Module]:
    """Halve the map, double the channels, then residual blocks."""
    down = ConvBlock(in_channels, 2 * in_channels, 3, stride=2, activation=LeakyReLU)
    return [down, *(ResidualBlock(2 * in_channels) for _ in range(num_blocks))]
