"""The choices of SimOTA, as values of one configuration field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, kw_only=True)
class SimOTA:
    """YOLOX's assigner (arXiv:2107.08430, Sec. 2.1), by default as in the official code since 2023."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    kind: Literal["simota"] = "simota"
    """The assigner: simota looks at the predictions, fcos at places and sizes alone."""

    candidates: Literal["center", "box_or_center"] = "center"
    """Anchor points near a box's centre; or, as published in 2021, also those anywhere inside a box."""

    center_radius: Annotated[float, Gt(0), Le(10)] = 1.5
    """Half the side of the square around a box's centre, in strides (2.5 in 2021)."""

    top_k: Annotated[int, Ge(1)] = 10
    """A box takes as many anchor points as its this many best IoUs sum up to, so at most this many."""

    class_cost_weight: Annotated[float, Ge(0)] = 1.0
    """Weight of the binary cross-entropy of √(class · objectness), summed over classes."""

    iou_cost_weight: Annotated[float, Ge(0)] = 3.0
    """Weight of −log IoU."""

    outside_cost: Annotated[float, Ge(0)] = 1e6
    """Added for a candidate of the image that is none of this box's own (1e5 in 2021)."""
