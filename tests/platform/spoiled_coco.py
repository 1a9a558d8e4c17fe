"""A clean data set for the checks, and ways to spoil it: each with the findings that it must give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NUM_IMAGES, HEIGHT, WIDTH = 24, 48, 64


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(NUM_IMAGES):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def clean_coco() -> dict[str, Any]:
    """24 images of 64 × 48 with two boxes each, of two classes; boxes as corners, centers or fractions are told."""
    images = [{"id": i + 1, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(NUM_IMAGES)]
    annotations = []
    for number in range(2 * NUM_IMAGES):
        x, y, w, h = 34 + number % 16, 20 + number % 10, 12 + number % 4, 14 + number % 5
        annotations.append(
            {
                "id": number + 1,
                "image_id": number // 2 + 1,
                "category_id": (3, 7)[number % 2],
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x + w, y + h]],
            }
        )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }


def put(section: str, at: int, **values: object) -> Callable[[dict[str, Any]], None]:
    """Set values of one record; ... removes one."""

    def spoil(coco: dict[str, Any]) -> None:
        for key, value in values.items():
            if value is ...:
                del coco[section][at][key]
            else:
                coco[section][at][key] = value

    return spoil


def image(**values: object) -> Callable[[dict[str, Any]], None]:
    return put("images", 5, **values)


def box(*bbox: object) -> Callable[[dict[str, Any]], None]:
    return put("annotations", 10, bbox=list(bbox))


def annotation(**values: object) -> Callable[[dict[str, Any]], None]:
    return put("annotations", 10, **values)


def category(**values: object) -> Callable[[dict[str, Any]], None]:
    return put("categories", 1, **values)


def every(section: str, change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def spoil(coco: dict[str, Any]) -> None:
        for record in coco[section]:
            change(record)

    return spoil


def whole(**values: object) -> Callable[[dict[str, Any]], None]:
    def spoil(coco: dict[str, Any]) -> None:
        for key, value in values.items():
            if value is ...:
                del coco[key]
            else:
                coco[key] = value

    return spoil


def append(section: str, record: object) -> Callable[[dict[str, Any]], None]:
    return lambda coco: coco[section].append(record)


def as_corners(record: dict[str, Any]) -> None:
    x, y, w, h = record["bbox"]
    record["bbox"] = [x, y, x + w, y + h]


def as_centers(record: dict[str, Any]) -> None:
    x, y, w, h = record["bbox"]
    record["bbox"] = [x + w / 2, y + h / 2, w, h]


def as_fractions(record: dict[str, Any]) -> None:
    x, y, w, h = record["bbox"]
    record["bbox"] = [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


def as_center_fractions(record: dict[str, Any]) -> None:
    as_centers(record)
    as_fractions(record)


def as_corner_fractions(record: dict[str, Any]) -> None:
    as_corners(record)
    as_fractions(record)


def twice_as_large(record: dict[str, Any]) -> None:
    record["bbox"] = [2 * side for side in record["bbox"]]
    record["area"] *= 4


def same_box_twice(coco: dict[str, Any]) -> None:
    coco["annotations"].append(coco["annotations"][10] | {"id": 1000})


def crowd_around(coco: dict[str, Any]) -> None:
    new = [{**coco["annotations"][0], "id": 1000 + i, "bbox": [i % 40, i // 40, 9, 9], "area": 81} for i in range(121)]
    coco["annotations"] += new


def imbalance(coco: dict[str, Any]) -> None:
    for record in coco["annotations"][:-1]:
        record["category_id"] = 3
    boxes = [{**coco["annotations"][0], "id": 1000 + i, "bbox": [i % 40, i // 40, 9, 9], "area": 81} for i in range(70)]
    coco["annotations"] += boxes


def rle(counts: object, size: object) -> dict[str, object]:
    return {"counts": counts, "size": size}


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], None], set[str]]] = {
    # the file's sections
    "images null": (whole(images=None), {"no-images"}),
    "images absent": (whole(images=...), {"no-images"}),
    "images a dict": (whole(images={}), {"malformed-section"}),
    "images text": (whole(images="x"), {"malformed-section"}),
    "categories null": (whole(categories=None), {"no-categories"}),
    "categories a dict": (whole(categories={"1": "a"}), {"malformed-section"}),
    "annotations null": (whole(annotations=None), {"no-annotations"}),
    "annotations absent": (whole(annotations=...), {"no-annotations"}),
    "annotations a number": (whole(annotations=3), {"malformed-section"}),
    "only other keys": (whole(images=..., annotations=..., categories=..., info={}), {"not-coco"}),
    "an annotation is null": (append("annotations", None), {"malformed-record"}),
    "an image is a number": (append("images", 3), {"malformed-record"}),
    "a category is text": (append("categories", "c"), {"malformed-record"}),
    # categories
    "category id absent": (category(id=...), {"invalid-category-id", "unknown-category"}),
    "category id null": (category(id=None), {"invalid-category-id", "unknown-category"}),
    "category id true": (category(id=True), {"invalid-category-id", "unknown-category"}),
    "category id 7.5": (category(id=7.5), {"invalid-category-id", "unknown-category"}),
    "category id 7.0": (category(id=7.0), {"inexact-id"}),
    "category id as text": (category(id="7"), {"inexact-id"}),
    "category id beyond 64 bits": (category(id=2**64), {"invalid-category-id", "unknown-category"}),
    "category id twice": (category(id=3), {"duplicate-category-id", "unknown-category"}),
    "category name absent": (category(name=...), {"invalid-category-name"}),
    "category name a number": (category(name=5), {"invalid-category-name"}),
    "category name empty": (category(name=""), {"invalid-category-name"}),
    "category name blank": (category(name="  "), {"invalid-category-name"}),
    "category name padded": (category(name="b "), {"padded-category-name"}),
    "category name twice": (category(name="a"), {"duplicate-category-name"}),
    "category name in capitals": (category(name="A"), {"similar-category-names"}),
    "a placeholder": (append("categories", {"id": 0, "name": "objects"}), {"placeholder-category"}),
    "an unused category": (append("categories", {"id": 9, "name": "c"}), {"unused-category"}),
    # images
    "image id absent": (image(id=...), {"invalid-image-id", "unknown-image", "image-without-annotations"}),
    "image id true": (image(id=True), {"invalid-image-id", "unknown-image", "image-without-annotations"}),
    "image id as text": (image(id="6"), {"inexact-id"}),
    "image id negative": (put("images", 5, id=-4), {"negative-id", "unknown-image", "image-without-annotations"}),
    "image id twice": (image(id=1), {"duplicate-image-id", "unknown-image", "image-without-annotations"}),
    "file name absent": (image(file_name=...), {"invalid-file-name"}),
    "file name by address": (
        image(file_name=..., coco_url="http://images.cocodataset.org/train2017/5.png"),
        {"file-name-from-url"},
    ),
    "file name null": (image(file_name=None), {"invalid-file-name"}),
    "file name a number": (image(file_name=5), {"invalid-file-name"}),
    "file name empty": (image(file_name=""), {"invalid-file-name"}),
    "file name with a null byte": (image(file_name="5.png\0"), {"invalid-file-name"}),
    "file name a folder": (image(file_name="./"), {"invalid-file-name"}),
    "file name twice": (image(file_name="0.png"), {"duplicate-file-name"}),
    "file name twice, written otherwise": (image(file_name="./0.png"), {"duplicate-file-name"}),
    "absolute path": (image(file_name="/etc/hostname"), {"path-outside-images"}),
    "absolute path on Windows": (image(file_name="C:\\images\\5.png"), {"path-outside-images"}),
    "path out of the folder": (image(file_name="../5.png"), {"path-outside-images"}),
    "path out on Windows": (image(file_name="a\\..\\..\\5.png"), {"path-outside-images"}),
    "a web address": (image(file_name="https://example.org/5.png"), {"file-name-url"}),
    "backslashes": (image(file_name="a\\5.png"), {"file-name-backslash", "missing-image-file"}),
    "no such file": (image(file_name="none.png"), {"missing-image-file"}),
    "in a folder": (image(file_name="train/5.png"), {"missing-image-file"}),
    "height text": (image(height="48"), {"invalid-image-size"}),
    "height negative": (image(height=-48), {"invalid-image-size"}),
    "height 48.5": (image(height=48.5), {"invalid-image-size"}),
    "height true": (image(height=True), {"invalid-image-size"}),
    "height absent": (image(height=...), {"missing-image-size"}),
    "size 0": (image(height=0, width=0), {"missing-image-size"}),
    "size swapped": (image(height=WIDTH, width=HEIGHT), {"image-size-differs"}),
    "another size": (image(height=480, width=640), {"image-size-differs"}),
    # annotations
    "annotation id absent": (annotation(id=...), {"invalid-annotation-id"}),
    "annotation id null": (annotation(id=None), {"invalid-annotation-id"}),
    "annotation id twice": (annotation(id=1), {"duplicate-annotation-id"}),
    "annotation id 0": (annotation(id=0), {"zero-annotation-id"}),
    "annotation id negative": (annotation(id=-1), {"negative-id"}),
    "annotation id text": (annotation(id="eleven"), {"invalid-annotation-id"}),
    "image_id absent": (annotation(image_id=...), {"unknown-image"}),
    "image_id of no image": (annotation(image_id=9999), {"unknown-image"}),
    "image_id as text": (annotation(image_id="6"), {"inexact-id"}),
    "category_id null": (annotation(category_id=None), {"unknown-category"}),
    "category_id of no category": (annotation(category_id=9999), {"unknown-category"}),
    "category_id true": (annotation(category_id=True), {"unknown-category"}),
    "bbox absent": (annotation(bbox=...), {"malformed-bbox"}),
    "bbox null": (annotation(bbox=None), {"malformed-bbox"}),
    "bbox a dict": (annotation(bbox={"x": 1, "y": 2, "w": 3, "h": 4}), {"malformed-bbox"}),
    "bbox text": (annotation(bbox="1,2,3,4"), {"malformed-bbox"}),
    "bbox of three": (box(1, 2, 3), {"malformed-bbox"}),
    "bbox of five": (box(1, 2, 3, 4, 5), {"malformed-bbox"}),
    "bbox of text": (box("1", "2", "30", "40"), {"malformed-bbox"}),
    "bbox with null": (box(1, 2, None, 4), {"malformed-bbox"}),
    "bbox with true": (box(1, 2, True, 4), {"malformed-bbox"}),
    "bbox nested": (box([1, 2], [3, 4], 5, 6), {"malformed-bbox"}),
    "bbox empty": (annotation(bbox=[]), {"malformed-bbox"}),
    "bbox NaN": (box(float("nan"), 1, 2, 3), {"non-finite-box", "not-strict-json"}),
    "bbox Infinity": (box(1, 1, float("inf"), 3), {"non-finite-box", "not-strict-json"}),
    "bbox huge": (box(1, 1, 1e12, 3), {"non-finite-box"}),
    "bbox beyond floats": (box(1, 1, 10**400, 3), {"non-finite-box"}),
    "width 0": (box(10, 10, 0, 20), {"box-without-area"}),
    "height negative in a box": (box(10, 10, 20, -5), {"box-without-area"}),
    "outside": (put("annotations", 10, bbox=[500, 500, 10, 10], area=100), {"box-outside-image"}),
    "outside on the left": (put("annotations", 10, bbox=[-50, 5, 10, 10], area=100), {"box-outside-image"}),
    "past the edge": (put("annotations", 10, bbox=[60, 5, 10, 20], area=100), {"box-past-edge"}),
    "past the left edge": (put("annotations", 10, bbox=[-3, 5, 10, 20], area=100), {"box-past-edge"}),
    "the whole image": (put("annotations", 10, bbox=[0, 0, WIDTH, HEIGHT]), {"box-is-whole-image"}),
    "one pixel in ten": (put("annotations", 10, bbox=[5, 5, 0.1, 20], area=2), {"tiny-box"}),
    "the same box twice": (same_box_twice, {"duplicate-box"}),
    "121 boxes in an image": (crowd_around, {"crowded-image"}),
    "corners": (every("annotations", as_corners), {"boxes-are-corners"}),
    "centers": (every("annotations", as_centers), {"boxes-are-centers"}),
    "fractions": (every("annotations", as_fractions), {"boxes-are-fractions"}),
    "fractions of centers": (every("annotations", as_center_fractions), {"boxes-are-fractions"}),
    "fractions of corners": (every("annotations", as_corner_fractions), {"boxes-are-fractions"}),
    "boxes of a larger image": (every("annotations", twice_as_large), {"boxes-leave-images"}),
    "one box of fractions": (box(0.5, 0.5, 0.25, 0.25), {"boxes-are-fractions"}),
    "area absent": (annotation(area=...), {"missing-area"}),
    "area 0": (annotation(area=0), {"zero-area"}),
    "area negative": (annotation(area=-4), {"invalid-area"}),
    "area text": (annotation(area="100"), {"invalid-area"}),
    "area NaN": (annotation(area=float("nan")), {"invalid-area", "not-strict-json"}),
    "area beyond the box": (annotation(area=5000), {"area-exceeds-box"}),
    "iscrowd absent": (annotation(iscrowd=...), {"missing-iscrowd"}),
    "iscrowd 2": (annotation(iscrowd=2), {"invalid-iscrowd"}),
    "iscrowd text": (annotation(iscrowd="0"), {"invalid-iscrowd"}),
    "all crowd": (every("annotations", lambda record: record.update(iscrowd=1)), {"all-crowd", "few-boxes"}),
    "segmentation a number": (annotation(segmentation=3), {"invalid-segmentation"}),
    "segmentation flat": (annotation(segmentation=[1, 2, 3, 4, 5, 6]), {"invalid-segmentation"}),
    "polygon of two points": (annotation(segmentation=[[1, 2, 3, 4]]), {"invalid-segmentation"}),
    "polygon of seven numbers": (annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), {"invalid-segmentation"}),
    "polygon of text": (annotation(segmentation=[["1", 2, 3, 4, 5, 6]]), {"invalid-segmentation"}),
    "run lengths too short": (annotation(segmentation=rle([1, 2], [HEIGHT, WIDTH])), {"invalid-segmentation"}),
    "run lengths without size": (annotation(segmentation={"counts": [1]}), {"invalid-segmentation"}),
    "a class of crowds": (
        every("annotations", lambda record: record.update(iscrowd=int(record["category_id"] == 3))),
        {"crowd-only-class"},
    ),
    "a class of one box": (imbalance, {"class-imbalance"}),
    # nothing wrong
    "segmentation absent": (annotation(segmentation=...), set()),
    "segmentation empty": (annotation(segmentation=[]), set()),
    "run lengths": (annotation(segmentation=rle([1, HEIGHT * WIDTH - 1], [HEIGHT, WIDTH])), set()),
    "run lengths as text": (annotation(segmentation=rle("abc", [HEIGHT, WIDTH])), set()),
    "another key": (annotation(attributes={"id": 3, "bbox": 1}), set()),
    "iscrowd false": (annotation(iscrowd=False), set()),
    "up to the edge": (put("annotations", 10, bbox=[50, 40, 14.3, 8.3], area=100), set()),
}


def spoiled(name: str) -> dict[str, Any]:
    coco = clean_coco()
    SPOILED[name][0](coco)
    return coco
