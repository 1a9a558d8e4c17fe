"""The choices of FCOS's assigner, as values of one configuration field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, kw_only=True)
class FCOS:
    """FCOS's assigner with centre sampling (arXiv:1904.01355, Sec. 3.2 and 4.1.3): by place and size alone."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    kind: Literal["fcos"] = "fcos"
    """The assigner: simota looks at the predictions, fcos at places and sizes alone."""

    center_radius: Annotated[float, Gt(0), Le(10)] = 1.5
    """Half the side of the square around a box's centre, in strides, whose anchor points inside the box learn it."""

    level_reach: Annotated[float, Ge(1)] = 8.0
    """Farthest side of a box that a level learns, in strides from the anchor point; the coarsest learns all beyond."""
