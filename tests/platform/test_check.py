"""Checking data sets: every defect by itself gives its finding and no other, and is mended if it can be."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.check import fast
from rayox_platform.data.check.checker import Against, CheckSettings, check_document, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_threads, remembered
from rayox_platform.data.check.finding_kinds import KIND_OF, KINDS
from rayox_platform.data.check.findings import Finding, Findings
from rayox_platform.data.check.mend import HOW, mend_file
from rayox_platform.data.check.reading import read_leniently
from rayox_platform.data.coco import read_coco
from rayox_platform.data.resolve import resolve_split

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

FILES: dict[str, tuple[bytes, set[str]]] = {
    "empty": (b"", {"empty-file"}),
    "blank": (b" \n", {"empty-file"}),
    "gzip": (b"\x1f\x8b\x08\x00rest", {"compressed-file"}),
    "zip": (b"PK\x03\x04rest", {"compressed-file"}),
    "cut in a text": (json.dumps(clean_coco()).encode()[:400], {"truncated-json"}),
    "cut in a number": (b'{"images": [{"id": 12', {"truncated-json"}),
    "cut before the last brace": (json.dumps(clean_coco()).encode()[:-1], {"truncated-json"}),
    "a comma too many": (b'{"images": [{"id": 1,}], "annotations": [], "categories": [1, 2, 3]}', {"invalid-json"}),
    "single quotes": (b"{'images': [], 'annotations': [], 'categories': []}", {"invalid-json"}),
    "HTML": (b"<html><body>404 this page was not found</body></html>", {"invalid-json"}),
    "a line each": (b'{"id": 1}\n{"id": 2}\n', {"json-lines"}),
    "nested too deep": (b"[" * 200_000, {"invalid-json"}),
    "a number": (b"3", {"not-coco"}),
    "null": (b"null", {"not-coco"}),
    "an empty list": (b"[]", {"not-coco"}),
    "an empty object": (b"{}", {"not-coco"}),
    "detections": (b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', {"results-file"}),
    "panoptic": (
        json.dumps(
            clean_coco() | {"annotations": [{"image_id": 1, "file_name": "0.png", "segments_info": []}]}
        ).encode(),
        {"other-coco-file"},
    ),
    "captions": (
        b'{"images": [{"id": 1}], "annotations": [{"id": 3, "image_id": 1, "caption": "a cat"}]}',
        {"other-coco-file"},
    ),
    "UTF-16": (json.dumps(clean_coco()).encode("utf-16"), {"not-utf8"}),
    "UTF-16 without a mark": (json.dumps(clean_coco()).encode("utf-16-le"), {"not-utf8"}),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(clean_coco()).encode(), {"byte-order-mark"}),
    "Latin-1": (json.dumps(clean_coco(), ensure_ascii=False).replace('"a"', '"ä"').encode("latin-1"), {"not-utf8"}),
    "a key twice": (
        json.dumps(clean_coco()).replace('"bbox":', '"bbox": [1, 2, 3, 4], "bbox":', 1).encode(),
        {"duplicate-key"},
    ),
    "a section twice": (json.dumps(clean_coco())[:-1].encode() + b', "images": []}', {"duplicate-key"}),
    "NaN elsewhere": (json.dumps(clean_coco() | {"info": {"version": float("nan")}}).encode(), {"not-strict-json"}),
    "huge whole number": (b'{"images": [{"id": ' + b"9" * 5000 + b"}]}", {"invalid-json"}),
}

EDGE: dict[str, set[str]] = {  # file of the edge set: findings besides those of base.json
    "base.json": set(),
    "zero_width.json": {"box-without-area"},
    "zero_area_field.json": {"zero-area"},
    "negative_size.json": {"box-without-area"},
    "outside_image.json": {"box-outside-image", "area-exceeds-box"},
    "past_edge.json": {"box-past-edge", "area-exceeds-box"},
    "whole_image_box.json": {"box-is-whole-image"},
    "nan_bbox.json": {"non-finite-box", "not-strict-json"},
    "inf_bbox.json": {"non-finite-box", "not-strict-json"},
    "bbox_three.json": {"malformed-bbox"},
    "bbox_strings.json": {"malformed-bbox"},
    "bbox_null.json": {"malformed-bbox"},
    "bbox_absent.json": {"malformed-bbox"},
    "unknown_category.json": {"unknown-category"},
    "unknown_image.json": {"unknown-image"},
    "dup_annotation_id.json": {"duplicate-annotation-id"},
    "dup_file_name.json": {"duplicate-file-name", "image-size-differs", "box-past-edge"},  # of another size
    "dup_category_id.json": {"duplicate-category-id", "unknown-category"},
    "dup_category_name.json": {"duplicate-category-name"},
    "missing_image_file.json": {"missing-image-file"},
    "file_name_absent.json": {"file-name-from-url"},
    "absolute_path.json": {"path-outside-images"},
    "subfolder.json": {"missing-image-file"},  # the folder has the images without it
    "wrong_size.json": {"image-size-differs"},
    "size_absent.json": {"missing-image-size"},
    "no_annotations.json": {"no-annotations"},
    "annotations_absent.json": {"no-annotations"},
    "no_images.json": {"no-images"},
    "no_categories.json": {"no-categories"},
    "all_crowd.json": {"all-crowd", "few-boxes"},
    "no_iscrowd_no_area.json": {"missing-iscrowd", "missing-area"},
    "category_zero_placeholder.json": {"placeholder-category"},
    "truncated.json": {"truncated-json"},
    "empty_file.json": {"empty-file"},
    "top_level_list.json": {"not-coco"},
    "empty_object.json": {"not-coco"},
    "duplicate_keys.json": {"duplicate-key"},
    "mmdet_coco_wrong_format_sample.json": {
        "duplicate-annotation-id",
        "duplicate-box",
        "missing-iscrowd",
        "missing-image-file",
        "few-boxes",
    },
}


LOOK = remembered(look_with_threads)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "images"
    write_images(folder)
    return folder


@pytest.fixture
def settings(pictures) -> CheckSettings:
    return CheckSettings(folder=ImageFolder(str(pictures)))


def check(path: Path, settings: CheckSettings, against: Against | None = None) -> list[Finding]:
    return check_file(path, settings, LOOK if against is None else look_with_threads, against)[0]


def codes(findings: list[Finding]) -> set[str]:
    return {found.code for found in findings}


def written(path: Path, coco: object) -> Path:
    path.write_bytes(coco if isinstance(coco, bytes) else json.dumps(coco).encode())
    return path


def spoiled(name: str) -> dict[str, Any]:
    coco = clean_coco()
    SPOILED[name][0](coco)
    return coco


def test_a_clean_data_set_has_no_findings(tmp_path, settings):
    assert check(written(tmp_path / "a.json", clean_coco()), settings) == []
    assert check(written(tmp_path / "a.json", clean_coco()), CheckSettings()) == []


@pytest.mark.parametrize("name", SPOILED)
def test_each_defect_gives_its_findings_and_no_others(tmp_path, settings, name):
    found = check(written(tmp_path / "a.json", spoiled(name)), settings)
    assert codes(found) == SPOILED[name][1]
    assert all(finding.count > 0 and finding.where and finding.detail and finding.fix for finding in found)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_coco_file_at_all(tmp_path, settings, name):
    content, expected = FILES[name]
    assert codes(check(written(tmp_path / "a.json", content), settings)) == expected


def test_files_that_are_none(tmp_path, settings):
    assert codes(check(tmp_path, settings)) == {"unreadable-file"}
    assert codes(check(tmp_path / "gone.json", settings)) == {"unreadable-file"}


@pytest.mark.parametrize("name", EDGE)
def test_edge_files(shared_data, name):
    settings = CheckSettings(folder=ImageFolder(str(shared_data / "edge" / "base_images")))
    base = {"unused-category", "few-images"}  # five images of COCO do not show all of its classes
    assert codes(check(shared_data / "edge" / "json" / name, settings)) - base == EDGE[name]


def test_every_edge_file_is_expected(shared_data):
    assert set(json.loads((shared_data / "edge" / "json_manifest.json").read_text())) == set(EDGE)


def test_the_examples_show_every_kind():
    """Kinds that need more than one spoiled record have tests of their own, below."""
    shown = set().union(*(expected for _, expected in [*SPOILED.values(), *FILES.values()]))
    apart = {
        "unreadable-file",
        "few-images",
        "swapped-image-size",
        "no-image-folder",
        "unreadable-image",
        "no-readable-image",
    }
    apart |= {"rotated-image", "odd-image", "wrong-extension", "duplicate-image"}
    apart |= {"leaked-image", "shared-file-name", "classes-differ"}
    assert shown | apart == set(KIND_OF)
    assert not shown & apart


@pytest.mark.parametrize("name", SPOILED)
def test_what_reading_for_training_refuses_is_an_error(tmp_path, pictures, name):
    path = written(tmp_path / "a.json", spoiled(name))
    try:
        resolve_split(str(path), str(pictures), tmp_path)
    except DataError:
        findings = check(path, CheckSettings(folder=ImageFolder(str(pictures))))
        assert any(found.severity == "error" for found in findings)


@pytest.mark.parametrize("name", SPOILED)
def test_the_fast_reader_sees_what_the_lenient_one_sees(tmp_path, name):
    """It may leave a file to the lenient reader, but what it takes must come out the same."""
    path = written(tmp_path / "a.json", spoiled(name))
    top = fast.read_fast(path.read_bytes())
    if top is None:
        return
    settings, quick, slow = CheckSettings(), Findings(), Findings()
    document = read_leniently(path, slow)
    assert document is not None
    check_document(document, settings, LOOK, slow)
    document.top = top
    check_document(document, settings, LOOK, quick)
    assert quick.all() == slow.all()


def test_the_fast_reader_takes_plain_files_and_leaves_the_others():
    text = json.dumps(clean_coco() | {"licenses": [{"id": 1, "name": "n", "url": "u"}], "info": {"year": 2026}})
    assert fast.read_fast(text.encode()) is not None
    for name in ("a key twice", "a section twice", "cut in a text", "UTF-16", "detections", "nested too deep"):
        assert fast.read_fast(FILES[name][0]) is None


def test_large_files_are_read_fast(tmp_path, settings, monkeypatch):
    monkeypatch.setattr("rayox_platform.data.check.reading.FROM_BYTES", 10)
    for name in ("corners", "run lengths too short", "bbox of text", "annotations absent", "another key"):
        found = check(written(tmp_path / "a.json", spoiled(name)), settings)
        assert codes(found) == SPOILED[name][1]


def test_a_finding_counts_all_and_shows_the_first(tmp_path, settings):
    coco = clean_coco()
    for record in coco["annotations"][4:14]:
        record["bbox"] = None
    (found,) = check(written(tmp_path / "a.json", coco), settings)
    assert (found.code, found.count) == ("malformed-bbox", 10)
    assert found.where == "annotations[4] (id 5); annotations[5] (id 6); annotations[6] (id 7); … 7 more"


def test_several_defects_are_all_found_errors_first(tmp_path, settings):
    coco = clean_coco()
    for name in ("area 0", "bbox null", "file name twice", "annotation id twice"):
        SPOILED[name][0](coco)
    found = check(written(tmp_path / "a.json", coco), settings)
    assert codes(found) == {"malformed-bbox", "duplicate-file-name", "duplicate-annotation-id"}  # the area has no box
    coco["annotations"][20]["area"] = 0
    found = check(written(tmp_path / "a.json", coco), settings)
    assert [finding.severity for finding in found] == ["error", "error", "error", "warning"]


def test_swapped_sizes_show_without_images(tmp_path):
    coco = clean_coco()
    for record in coco["images"][3:8]:  # whose boxes reach beyond 53 of 64 pixels
        record["height"], record["width"] = WIDTH, HEIGHT
    (found,) = check(written(tmp_path / "a.json", coco), CheckSettings())
    assert (found.code, found.count) == ("swapped-image-size", 5)
    output = tmp_path / "out.json"
    mend_file(tmp_path / "a.json", output, CheckSettings(), LOOK)
    assert json.loads(output.read_text()) == clean_coco()


def test_a_box_is_small_at_training_size(tmp_path):
    coco = clean_coco()
    for record in coco["images"]:
        record["height"], record["width"] = 4800, 6400
    path = written(tmp_path / "a.json", coco)  # boxes of 12 to 15 px: under 2 at a tenth
    assert codes(check(path, CheckSettings(image_size=640))) == {"tiny-box"}
    assert codes(check(path, CheckSettings(image_size=1280))) == set()


def test_few_images_and_boxes(tmp_path):
    coco = clean_coco()
    coco["images"] = coco["images"][:19]
    coco["annotations"] = coco["annotations"][:38]
    assert codes(check(written(tmp_path / "a.json", coco), CheckSettings())) == {"few-images"}
    coco = clean_coco()
    coco["annotations"] = coco["annotations"][:19]
    found = codes(check(written(tmp_path / "a.json", coco), CheckSettings()))
    assert found == {"few-boxes", "image-without-annotations"}


def test_images_are_looked_at(tmp_path, pictures):
    folder = tmp_path / "images"
    write_images(folder)
    (folder / "0.png").write_bytes(b"<html>not found</html>")
    (folder / "1.png").write_bytes((folder / "2.png").read_bytes())
    cv2.imwrite(str(folder / "3.png"), np.full((2, 64, 3), 9, np.uint8))
    (folder / "4.png").write_bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 9, np.uint8))[1].tobytes())
    cut = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(cut[: len(cut) // 2])
    path = written(tmp_path / "a.json", clean_coco())
    found = {finding.code: finding for finding in check(path, CheckSettings(folder=ImageFolder(str(folder))))}
    assert found.keys() == {
        "unreadable-image",
        "duplicate-image",
        "odd-image",
        "image-size-differs",
        "box-outside-image",  # of the image that is 2 px high
        "wrong-extension",
    }
    assert found["unreadable-image"].where == "images[0] (0.png); images[5] (5.png)"
    assert found["duplicate-image"].where == "images[2] (2.png)"
    assert "annotated 64 × 48, the file is 64 × 2" in found["image-size-differs"].detail
    quick = check(path, CheckSettings(folder=ImageFolder(str(folder)), depth="header"))
    assert "duplicate-image" not in codes(quick)
    assert "image-size-differs" in codes(quick)


def test_a_turned_photo_annotated_as_stored(tmp_path, shared_data):
    coco = clean_coco()
    folder = tmp_path / "images"
    write_images(folder)
    (folder / "5.png").write_bytes((shared_data / "edge" / "images" / "coco_exif6.jpg").read_bytes())
    coco["images"][5] |= {"height": 120, "width": 160}  # shown it is 160 high
    path, settings = written(tmp_path / "a.json", coco), CheckSettings(folder=ImageFolder(str(folder)))
    assert codes(check(path, settings)) == {"rotated-image", "wrong-extension"}
    coco["images"][5] |= {"height": 160, "width": 120}
    assert codes(check(written(path, coco), settings)) == {"wrong-extension"}


def test_every_odd_image_is_looked_at_without_an_internal_error(shared_data):
    folder = shared_data / "edge" / "images"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("huge"))
    facts = look_with_threads(ImageFolder(str(folder)), names, "decode")
    broken = {name for name, fact in zip(names, facts, strict=True) if fact.broken}
    assert {"zero_bytes.jpg", "text.jpg", "html.jpg", "truncated_image.png", "coco_truncated_half.jpg"} <= broken
    assert not {"progressive.jpg", "cmyk_coco.jpg", "rgb16.png", "hopper.webp", "png_named.jpg"} & broken


def test_a_folder_of_nothing_but_broken_images(tmp_path):
    for number in range(NUM_IMAGES):
        (tmp_path / f"{number}.png").write_bytes(b"denied")
    found = check(written(tmp_path / "a.json", clean_coco()), CheckSettings(folder=ImageFolder(str(tmp_path))))
    assert [(finding.code, finding.count) for finding in found] == [
        ("no-readable-image", NUM_IMAGES),
        ("unreadable-image", NUM_IMAGES),
        ("duplicate-image", NUM_IMAGES - 1),
    ]


def test_no_folder_of_images(tmp_path):
    path = written(tmp_path / "a.json", clean_coco())
    assert codes(check(path, CheckSettings(folder=ImageFolder(str(tmp_path / "gone"))))) == {"no-image-folder"}


def test_odd_file_names_are_said_so_that_a_terminal_does_nothing(tmp_path, settings):
    coco = clean_coco()
    names = ("\x1b[31mred.png", "two\nlines.png", "\ud800.png", "n" * 300 + ".png", "naïve 図.png")
    for record, name in zip(coco["images"], names, strict=False):
        record["file_name"] = name
    found = check(written(tmp_path / "a.json", coco), settings)
    assert "missing-image-file" in codes(found)
    text = " ".join(finding.where + finding.detail for finding in found)
    assert text.isprintable()
    text.encode()


def test_a_folder_in_place_of_an_image_is_no_image(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "images" / "0.png").unlink()
    (tmp_path / "images" / "0.png").mkdir()
    settings = CheckSettings(folder=ImageFolder(str(tmp_path / "images")))
    assert codes(check(written(tmp_path / "a.json", clean_coco()), settings)) == {"missing-image-file"}


def test_a_folder_by_address(tmp_path, pictures):
    path = written(tmp_path / "a.json", clean_coco())
    assert check(path, CheckSettings(folder=ImageFolder(f"file://{pictures}"))) == []
    assert codes(check(path, CheckSettings(folder=ImageFolder(f"file://{pictures}/gone")))) == {"no-image-folder"}
    coco = clean_coco()
    coco["images"][5]["file_name"] = "gone.png"
    found = check(written(path, coco), CheckSettings(folder=ImageFolder(f"file://{pictures}")))
    assert codes(found) == {"missing-image-file"}


def test_leaks_between_splits(tmp_path, pictures, settings):
    other = tmp_path / "other"
    other.mkdir()
    rng = np.random.default_rng(1)
    for number in range(NUM_IMAGES):
        cv2.imwrite(str(other / f"{number}.png"), rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    train, val = (written(tmp_path / name, clean_coco()) for name in ("train.json", "val.json"))
    folder = ImageFolder(str(other))
    assert check(train, settings, Against(val, folder)) == []  # the same names, other contents
    (other / "9.png").write_bytes((pictures / "3.png").read_bytes())
    (found,) = check(train, settings, Against(val, folder))
    assert (found.code, found.where, found.severity) == ("leaked-image", "images[3] (3.png)", "error")
    assert "images[9] (9.png)" in found.detail
    (found,) = check(train, settings, Against(train, settings.folder))
    assert (found.code, found.count) == ("leaked-image", NUM_IMAGES)
    (found,) = check(train, CheckSettings(), Against(val, None))
    assert (found.code, found.count) == ("shared-file-name", NUM_IMAGES)


def test_splits_with_other_classes(tmp_path):
    coco = clean_coco()
    coco["categories"][1]["name"] = "c"
    for number, record in enumerate(coco["images"]):
        record["file_name"] = f"other{number}.png"
    train, val = written(tmp_path / "train.json", clean_coco()), written(tmp_path / "val.json", coco)
    (found,) = check(train, CheckSettings(), Against(val, None))
    assert (found.code, found.detail) == ("classes-differ", "only here: b; only there: c")
    with pytest.raises(DataError, match="truncated-json"):
        check(train, CheckSettings(), Against(written(val, FILES["cut in a text"][0]), None))


STAYS = {  # nobody but its maker can say what is right
    "category id absent",
    "category id null",
    "category id true",
    "category id 7.5",
    "category id beyond 64 bits",
    "category id twice",
    "category name absent",
    "category name a number",
    "category name empty",
    "category name blank",
    "category name twice",
    "one box of fractions",
    "boxes of a larger image",
    "image id twice",
    "all crowd",
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_mended_copy_has_no_errors_left(tmp_path, settings, name):
    path, output = written(tmp_path / "a.json", spoiled(name)), tmp_path / "out.json"
    before = path.read_bytes()
    errors = {found.code for found in check(path, settings) if found.severity == "error"}
    if errors & {"no-images", "no-categories", "malformed-section", "not-coco"}:
        with pytest.raises(DataError, match="cannot be mended"):
            mend_file(path, output, settings, LOOK)
        assert not output.exists()
        return
    mended = mend_file(path, output, settings, LOOK)
    left = check(output, settings)
    assert left == mended.left
    assert not codes(left) & mended.fixed.keys()
    assert path.read_bytes() == before
    left_errors = {found.code for found in left if found.severity == "error"}
    assert left_errors <= errors
    assert bool(left_errors) == (name in STAYS)
    if not left_errors:
        read_coco(output)


@pytest.mark.parametrize("name", ["corners", "centers", "fractions", "fractions of centers", "fractions of corners"])
def test_other_forms_become_the_boxes_they_were(tmp_path, settings, name):
    path, output = written(tmp_path / "a.json", spoiled(name)), tmp_path / "out.json"
    mend_file(path, output, settings, LOOK)
    boxes = [record["bbox"] for record in json.loads(output.read_text())["annotations"]]
    np.testing.assert_allclose(boxes, [record["bbox"] for record in clean_coco()["annotations"]], atol=2e-4)


def test_a_mended_copy_keeps_all_that_was_right(tmp_path, settings):
    coco = clean_coco() | {"info": {"year": 2026}}
    coco["annotations"][3]["attributes"] = {"occluded": True}
    expected = copy.deepcopy(coco)
    coco["annotations"][10]["bbox"] = [60, 5, 10, 20]
    expected["annotations"][10] |= {"bbox": [60.0, 5.0, 4.0, 20.0], "area": 80.0}
    output = tmp_path / "out.json"
    mended = mend_file(written(tmp_path / "a.json", coco), output, settings, LOOK)
    assert json.loads(output.read_text()) == expected
    assert mended.fixed == {"box-past-edge": "clipped"}


def test_mending_never_overwrites_the_file(tmp_path, settings):
    path = written(tmp_path / "a.json", clean_coco())
    (tmp_path / "link.json").symlink_to(path)
    for output in (path, tmp_path / "link.json", tmp_path / "b" / ".." / "a.json", tmp_path):
        (tmp_path / "b").mkdir(exist_ok=True)
        with pytest.raises(ConfigError):
            mend_file(path, output, settings, LOOK)
    assert json.loads(path.read_text()) == clean_coco()


def test_what_can_be_mended_is_a_kind():
    assert HOW.keys() <= KIND_OF.keys()
    assert len(KIND_OF) == len(KINDS)


def test_the_table_in_the_documentation_is_this_one():
    text = (Path(__file__).resolve().parents[2] / "platform" / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{kind.code}` | {kind.severity} | {kind.means} | {kind.fix} |" for kind in KINDS]
    assert "\n".join(["| code | severity | means | fix |", "|---|---|---|---|", *rows]) in text
