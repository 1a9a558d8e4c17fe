"""Reading a large file that is JSON as it should be: about six times as fast as leniently, in half the memory.

Only what the checks look at is kept. Whatever this reader does not take, it leaves to the lenient one.
"""

from typing import Any, TypedDict

import msgspec

from rayox_platform.data.check.segmentation import segmentation_problem

FROM_BYTES = 8_000_000  # below, the lenient reader takes under half a second


class _Image(TypedDict, total=False):
    id: Any
    file_name: Any
    coco_url: Any
    height: Any
    width: Any


class _Annotation(TypedDict, total=False):
    id: Any
    image_id: Any
    category_id: Any
    bbox: Any
    area: Any
    iscrowd: Any
    segmentation: msgspec.Raw
    segments_info: msgspec.Raw
    caption: msgspec.Raw


class _Category(TypedDict, total=False):
    id: Any
    name: Any
    supercategory: Any


class _License(TypedDict, total=False):
    id: Any
    name: Any


class _Coco(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Licensed(_Coco, total=False):
    licenses: list[_License]


def read_fast(content: bytes) -> dict[str, Any] | None:
    """The three sections with the keys that are checked, segmentations as what is wrong with them.

    None for what has to be read leniently: no JSON, NaN, a section or record of another kind, a repeated key.
    """
    try:
        coco = msgspec.json.decode(content, type=_Licensed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _has_repeated_keys(content, coco):
        return None
    for annotation in coco["annotations"]:
        if "segmentation" in annotation:
            problem: Any = _problem(annotation["segmentation"])
            annotation["segmentation"] = problem
    return dict(coco)


_polygons = msgspec.json.Decoder(list[list[float]]).decode


def _problem(segmentation: msgspec.Raw) -> str | None:
    """The answer of segmentation_problem, for polygons (nearly all there are) in a quarter of the time."""
    try:
        if all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in _polygons(segmentation)):
            return None
    except msgspec.ValidationError:
        pass
    return segmentation_problem(msgspec.json.decode(segmentation))


def _has_repeated_keys(content: bytes, coco: _Licensed) -> bool:
    """More of a key in the text than records that hold it; also true where other parts of the file use the word."""
    held = dict.fromkeys(("images", "annotations", "categories", "licenses"), 1)
    held["licenses"] = int("licenses" in coco)
    sections: list[list[Any]] = [coco["images"], coco["annotations"], coco["categories"], coco.get("licenses", [])]
    for key in {*_Image.__annotations__, *_Annotation.__annotations__, *_Category.__annotations__}:
        held[key] = sum(key in record for section in sections for record in section)
    return any(content.count(f'"{key}"'.encode()) != count for key, count in held.items())
