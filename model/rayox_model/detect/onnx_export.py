"""Writing a network as ONNX in the layout of the official export, with its classes and size inside.

B images, K anchor points, C classes, H and W the height and width of the input.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from rayox_model.core.anchors import check_image_size
from rayox_model.core.errors import ExportError
from rayox_model.detect.onnx_lowering import lowered
from rayox_model.nets.layers import ConvBlock
from rayox_model.nets.yolox import YOLOX

OPSET = 18


class _Probabilities(nn.Module):
    """One tensor per image, [regression, objectness, classes], the last two as probabilities."""

    def __init__(self, model: YOLOX) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K D"]:
        regression, objectness, class_logits = self.model(images)
        return torch.cat((regression, objectness.unsqueeze(-1).sigmoid(), class_logits.sigmoid()), dim=-1)


def _folded(model: YOLOX) -> YOLOX:
    """Batch norms become part of the convolutions before them: torch needs half the time for the smaller graph."""
    for block in model.modules():
        if isinstance(block, ConvBlock):
            block.conv = fuse_conv_bn_eval(block.conv, block.bn)
            block.add_module("bn", nn.Identity())
    return model


def export_onnx(model: YOLOX, classes: Sequence[str], image_size: tuple[int, int], path: Path) -> None:
    """Write `images` [B, 3, H, W] → `output` [B, K, 5 + C] in fp32, any B, regression not decoded.

    It is in the oldest form that holds the network, for the runtimes of devices (onnx_lowering). Its metadata carry
    `classes` and `image_size` (height, width) as JSON. The given model is not changed.
    Raises ExportError when the names are not as many as the classes or the file cannot be written.
    """
    check_image_size(*image_size)
    if len(classes) != model.num_classes:
        raise ExportError(f"the network has {model.num_classes} classes, but {len(classes)} names were given")
    network = _Probabilities(_folded(copy.deepcopy(model).cpu().float().eval())).eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, *image_size),),  # 2, as torch takes a batch of 1 for a constant
        input_names=["images"],
        output_names=["output"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces with the paths of this machine
    program.model.metadata_props.update(classes=json.dumps(list(classes)), image_size=json.dumps(list(image_size)))
    try:
        onnx.save(lowered(program.model_proto), path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
