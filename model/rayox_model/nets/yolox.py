"""The seven published YOLOX networks (arXiv:2107.08430, Sec. 2.2), as modules with the official checkpoints' keys.

B images, H and W the height and width of the input, both multiples of 32.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from rayox_model.core.errors import ConfigError
from rayox_model.core.structures import Predictions
from rayox_model.nets.head import Head
from rayox_model.nets.layers import LeakyReLU
from rayox_model.nets.neck import FPN, PAFPN


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one published network from another."""

    depth: float
    """Multiple of the CSP layers' number of blocks."""
    width: float
    """Multiple of every layer's channels."""
    image_size: tuple[int, int]
    """(height, width) it is published and evaluated at."""
    depthwise: bool = False
    """3×3 convolutions are depthwise separable."""


VARIANTS: dict[str, Variant] = {
    "nano": Variant(depth=0.33, width=0.25, image_size=(416, 416), depthwise=True),
    "tiny": Variant(depth=0.33, width=0.375, image_size=(416, 416)),
    "s": Variant(depth=0.33, width=0.50, image_size=(640, 640)),
    "m": Variant(depth=0.67, width=0.75, image_size=(640, 640)),
    "l": Variant(depth=1.0, width=1.0, image_size=(640, 640)),
    "x": Variant(depth=1.33, width=1.25, image_size=(640, 640)),
    "darknet53": Variant(depth=1.0, width=1.0, image_size=(640, 640)),
}


class YOLOX(nn.Module):
    """A detector whose output is raw in training and evaluation alike: see `anchors.decode` for boxes.

    Its input is BGR, 0 to 255, float, not normalised. A new one is initialised for training from scratch.
    Raises ConfigError for a size that is not one of VARIANTS or fewer classes than one.
    """

    def __init__(self, size: str, num_classes: int) -> None:
        super().__init__()
        if size not in VARIANTS:
            raise ConfigError(f"model size {size!r} is not one of {', '.join(VARIANTS)}")
        if num_classes < 1:
            raise ConfigError(f"a detector needs at least 1 class, not {num_classes}")
        self.size = size
        self.num_classes = num_classes
        variant = VARIANTS[size]
        if size == "darknet53":
            self.backbone: nn.Module = FPN()
            self.head = Head(num_classes, (128, 256, 512), 256, depthwise=False, activation=LeakyReLU)
        else:
            self.backbone = PAFPN(variant.depth, variant.width, depthwise=variant.depthwise)
            small, middle, large = (int(channels * variant.width) for channels in (256, 512, 1024))
            self.head = Head(num_classes, (small, middle, large), small, depthwise=variant.depthwise)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Predictions:
        predictions: Predictions = self.head(self.backbone(images))
        return predictions
