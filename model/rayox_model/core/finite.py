"""JSON has no NaN and no infinity."""

import math
from collections.abc import Mapping


def without_non_finite(value: object) -> object:
    """The same nesting, with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: without_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return value
