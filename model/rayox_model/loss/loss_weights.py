"""How the loss is put together; by default as published (arXiv:2107.08430, Sec. 2.1). Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What each term counts in the total, and what the total is divided by."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    iou: Annotated[float, Ge(0)] = 5.0
    """Weight of 1 − IoU² of a positive's box."""
    objectness: Annotated[float, Ge(0)] = 1.0
    """Weight of the binary cross-entropy of objectness, over all anchor points."""
    classification: Annotated[float, Ge(0)] = 1.0
    """Weight of the binary cross-entropy of a positive's class, whose target is the IoU."""
    l1: Annotated[float, Ge(0)] = 1.0
    """Weight of the L1 distance of a positive's raw regression, in the closing epochs."""
    divide_by: Literal["worker_positives", "all_positives"] = "worker_positives"
    """Each worker's positives, as published, or all workers', always so if train.workers does not divide data.lanes."""
