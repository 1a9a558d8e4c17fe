"""How strongly training images are changed; the defaults are the published ones of YOLOX-S to X (arXiv:2107.08430)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

Probability = Annotated[float, Ge(0), Le(1)]
Factor = Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Raises ValueError when a range has its upper end first. Nano is published with mosaic_prob 0.5, nano and tiny
    with mosaic_scale (0.5, 1.5) and mixup_prob 0."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mosaic_prob: Probability = 1.0
    """Share of the samples made of four images; the rest is one letterboxed image, without affine and mixup."""
    partners: Literal["dataset", "window"] = "dataset"
    """Where the other images of a mosaic and mixup come from: the whole data set as published, and those in view are
    decoded, or a window of partner_window images of the same lane, which takes about one decoded image a sample."""
    partner_window: Annotated[int, Ge(4)] = 32
    """Images that are each other's partners with partners window; a data task holds that many decoded, one batch of a
    lane at the least."""
    mosaic_scale: tuple[Factor, Factor] = (0.1, 2.0)
    """Range of the affine's scale; 1 shows a quarter of the canvas of four images."""
    degrees: Annotated[float, Ge(0), Le(180)] = 10.0
    """The affine turns by up to this many degrees either way."""
    shear: Annotated[float, Ge(0), Lt(45)] = 2.0
    """The affine shears each axis by up to this many degrees either way."""
    translate: Annotated[float, Ge(0), Le(1)] = 0.1
    """The affine shifts by up to this share of the output's width and height either way."""
    mixup_prob: Probability = 1.0
    """Share of the mosaic samples with boxes that another image is blended over, half and half."""
    mixup_scale: tuple[Factor, Factor] = (0.5, 1.5)
    """Range of the scale of the image blended over; 1 is letterboxed to the output's size."""
    hsv_prob: Probability = 1.0
    """Share of the samples whose colours shift; each of the three channels then shifts with probability 0.5."""
    hue: Annotated[float, Ge(0), Le(90)] = 5.0
    """Largest shift of the hue either way, in OpenCV's 180 steps of the circle."""
    saturation: Annotated[float, Ge(0), Le(255)] = 30.0
    """Largest shift of the saturation either way, of 255."""
    value: Annotated[float, Ge(0), Le(255)] = 30.0
    """Largest shift of the brightness either way, of 255."""
    flip_prob: Probability = 0.5
    """Share of the samples mirrored left to right."""
    max_boxes: Annotated[int, Ge(1)] = 120
    """Boxes kept of a sample: the first ones, in the order of its images."""

    def __post_init__(self) -> None:
        for name in ("mosaic_scale", "mixup_scale"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the range ({low}, {high}) has its upper end first")
