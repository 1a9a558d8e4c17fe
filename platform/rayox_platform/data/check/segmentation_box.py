"""The box of an object whose segmentation alone is written: the extents of its polygons or of its run-length code."""

import math
from itertools import accumulate
from typing import Any

from rayox_platform.data.check.sections import MAX_PIXELS
from rayox_platform.data.check.segmentation import segmentation_problem

_BITS, _MORE, _SIGN = 5, 0x20, 0x10  # of a character of a compressed code
_FIRST_CHARACTER = 48


def box_of_segmentation(value: Any) -> list[float] | None:
    """[x, y, width, height] in the segmentation's pixels; None where it is absent, wrong or encloses nothing."""
    if not value or segmentation_problem(value) is not None:
        return None
    box = _of_code(value) if isinstance(value, dict) else _of_polygons(value)
    if box is None or box[2] <= 0 or box[3] <= 0 or not all(abs(side) < MAX_PIXELS for side in box):
        return None
    return box


def _of_polygons(polygons: list[list[float]]) -> list[float] | None:
    xs = [float(x) for polygon in polygons for x in polygon[0::2]]
    ys = [float(y) for polygon in polygons for y in polygon[1::2]]
    left, top = min(xs), min(ys)
    if not all(map(math.isfinite, (*xs, *ys))):
        return None
    return [left, top, max(xs) - left, max(ys) - top]


def _of_code(code: dict[str, Any]) -> list[float] | None:
    """Runs go down the columns, the first over what is not the object."""
    height, width = code["size"]
    runs = code["counts"] if isinstance(code["counts"], list) else _runs(code["counts"])
    if runs is None or sum(runs) != height * width:
        return None
    ends = list(accumulate(runs))
    spans = [(end - run, end - 1) for run, end in zip(runs[1::2], ends[1::2], strict=True) if run]
    if not spans:
        return None
    columns = [place // height for span in spans for place in span]
    left, right = min(columns), max(columns) + 1
    whole = any(start // height != stop // height for start, stop in spans)  # it goes on in the next column
    top = 0 if whole else min(start % height for start, _ in spans)
    bottom = height if whole else max(stop % height for _, stop in spans) + 1
    return [float(left), float(top), float(right - left), float(bottom - top)]


def _runs(text: str) -> list[int] | None:
    """COCO's compressed counts: five bits a character, from the third run on the difference to the one before last."""
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - _FIRST_CHARACTER
        if not 0 <= bits < 2 * _MORE:
            return None
        number |= (bits & (_MORE - 1)) << (_BITS * shift)
        shift += 1
        if bits & _MORE:
            continue
        if bits & _SIGN:
            number -= 1 << (_BITS * shift)
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return runs if shift == 0 and all(run >= 0 for run in runs) else None
