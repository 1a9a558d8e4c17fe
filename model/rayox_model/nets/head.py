"""The decoupled head: separate branches for what it is and where it is, shared objectness on the latter.

B images, K anchor points over all levels, C classes, D outputs of one prediction layer, H and W of one feature map.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rayox_model.core.structures import Predictions
from rayox_model.nets.darknet import FeatureMaps
from rayox_model.nets.layers import Activation, ConvBlock, SiLU, conv3x3

PRIOR_PROBABILITY = 0.01  # what an untrained network says of every anchor point (RetinaNet, arXiv:1708.02002, Sec. 4.1)
PRIOR_BIAS = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)


class Head(nn.Module):
    """YOLOX's decoupled head (arXiv:2107.08430, Sec. 2.1, Fig. 2), one per stride with weights of its own.

    The order of the attributes is that of the official checkpoints' keys.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: tuple[int, int, int],
        channels: int,
        *,
        depthwise: bool,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()

        def branch() -> nn.Sequential:
            blocks = (conv3x3(channels, channels, depthwise=depthwise, activation=activation) for _ in range(2))
            return nn.Sequential(*blocks)

        def predictor(out_channels: int) -> nn.Conv2d:
            return nn.Conv2d(channels, out_channels, 1)

        levels = range(len(in_channels))
        self.cls_convs = nn.ModuleList(branch() for _ in levels)
        self.reg_convs = nn.ModuleList(branch() for _ in levels)
        self.cls_preds = nn.ModuleList(predictor(num_classes) for _ in levels)
        self.reg_preds = nn.ModuleList(predictor(4) for _ in levels)
        self.obj_preds = nn.ModuleList(predictor(1) for _ in levels)
        self.stems = nn.ModuleList(ConvBlock(size, channels, 1, activation=activation) for size in in_channels)
        for layer in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(layer.bias, PRIOR_BIAS)

    def forward(self, features: FeatureMaps) -> Predictions:
        regression, objectness, class_logits = [], [], []
        for level, level_features in enumerate(features):
            stem = self.stems[level](level_features)
            class_logits.append(_by_anchor(self.cls_preds[level](self.cls_convs[level](stem))))
            where = self.reg_convs[level](stem)
            regression.append(_by_anchor(self.reg_preds[level](where)))
            objectness.append(_by_anchor(self.obj_preds[level](where)))
        return Predictions(
            torch.cat(regression, dim=1),
            torch.cat(objectness, dim=1).squeeze(-1),
            torch.cat(class_logits, dim=1),
        )


def _by_anchor(outputs: Float[Tensor, "B D H W"]) -> Float[Tensor, "B K D"]:
    """Anchor points row by row, outputs last; free of copies in the channels-last layout."""
    return outputs.flatten(2).transpose(1, 2)
