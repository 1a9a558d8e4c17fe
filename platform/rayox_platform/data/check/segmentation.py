"""What is wrong with a segmentation: polygons, or a run-length code with counts and size, in COCO's form."""

import math
from typing import Any


def segmentation_problem(value: Any) -> str | None:
    """None where nothing is wrong; absent, null and the empty list are fine for detection."""
    if value is None or value == []:
        return None
    if isinstance(value, dict):
        return _code_problem(value)
    if not isinstance(value, list):
        return f"a {type(value).__name__}, neither polygons nor a run-length code"
    if not all(isinstance(polygon, list) for polygon in value):
        return "polygons are lists of numbers in a list"
    return next(filter(None, map(_polygon_problem, value)), None)


def _polygon_problem(polygon: list[Any]) -> str | None:
    if len(polygon) < 6 or len(polygon) % 2:
        return f"a polygon of {len(polygon)} numbers: at least three points are pairs of numbers"
    try:
        fine = {type(number) for number in polygon} <= {int, float} and math.isfinite(sum(polygon))
    except OverflowError:  # a whole number beyond all floats
        fine = False
    return None if fine else "a polygon with what is not a finite number"


def _code_problem(code: dict[str, Any]) -> str | None:
    counts, size = code.get("counts"), code.get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        return "a run-length code whose size is not [height, width]"
    if isinstance(counts, str):
        return None if counts else "a run-length code without counts"
    if not (isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts)):
        return "a run-length code whose counts are neither text nor whole numbers"
    if sum(counts) != size[0] * size[1]:
        return f"a run-length code of {sum(counts)} pixels for {size[0] * size[1]}"
    return None
