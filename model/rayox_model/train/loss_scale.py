"""How fp16's gradients are kept within its range: the loss is scaled up, and by how much is found by trying.

Mixed precision training (arXiv:1710.03740, Sec. 3.2), dynamic as in torch.amp.GradScaler, whose defaults these are and
the published recipes use. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

LEAST_SCALE = 2.0**-14  # fp16's smallest normal number: a gradient that overflows even so overflows at any scale


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """fp16 alone scales the loss. A step whose gradient overflows is skipped: it changes no weight."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "allow_inf_nan": False}

    initial: Annotated[float, Gt(0), Le(1e18)] = 2.0**16
    """The factor to begin with; from the published 65536 a run skips about nine steps until gradients fit."""
    growth_factor: Annotated[float, Gt(1)] = 2.0
    """What the factor is multiplied by after growth_interval steps of which none was skipped."""
    backoff_factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    """What the factor is multiplied by after a skipped step."""
    growth_interval: Annotated[int, Ge(1)] = 2000
    """Steps in a row without a skipped one after which a larger factor is tried."""
