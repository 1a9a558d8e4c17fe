"""What a network is, as a checkpoint keeps it: one frozen dataclass a kind of network, told apart by `kind`.

Another head or body is another dataclass with a `kind` of its own, joined to ModelSpec and KINDS, and a case in
`network_of`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rayox_model.core.errors import ModelError
from rayox_model.nets.yolox import YOLOX


@dataclass(frozen=True, kw_only=True)
class YOLOXSpec:
    """A YOLOX network with its decoupled head."""

    kind: Literal["yolox"] = "yolox"
    size: str  # the variant: nano … x, darknet53


ModelSpec = YOLOXSpec
KINDS: tuple[type[ModelSpec], ...] = (YOLOXSpec,)


def spec_of(values: Mapping[str, Any]) -> ModelSpec:
    """The network whose fields these are, `kind` among them. Raises ModelError for another kind."""
    for kind in KINDS:
        if kind.kind == values.get("kind"):
            return kind(**values)
    known = ", ".join(kind.kind for kind in KINDS)
    raise ModelError(f"a network of the kind {values.get('kind')!r}, which is not one of {known}", "use a newer rayox")


def network_of(spec: ModelSpec, num_classes: int) -> YOLOX:
    """A new network of that kind. Raises ConfigError for a size that it does not have, or without a class."""
    return YOLOX(spec.size, num_classes)
