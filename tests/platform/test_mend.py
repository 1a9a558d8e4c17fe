"""What `--fix` makes of files it once threw away: ids that are not numbers, objects with outlines alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from rayox_platform.data.check.checker import CheckSettings
from rayox_platform.data.check.files import ImageFolder, look_with_threads
from rayox_platform.data.check.findings import Finding
from rayox_platform.data.check.mend import Dropped, Mended, mend_file
from rayox_platform.data.check.segmentation_box import box_of_segmentation
from rayox_platform.data.coco import read_coco


def mended(path: Path, output: Path, images: Path | None = None) -> tuple[Mended, dict[str, Any]]:
    folder = ImageFolder(str(images)) if images is not None else None
    found = mend_file(path, output, CheckSettings(folder=folder), look_with_threads)
    return found, json.loads(output.read_text())


def errors(found: Mended) -> list[Finding]:
    return [finding for finding in found.left if finding.severity == "error"]


def objects(coco: dict[str, Any]) -> list[tuple[object, object, tuple[float, ...]]]:
    """Each object's file, class and box, whatever the ids."""
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    return [
        (files[one["image_id"]], names[one["category_id"]], tuple(map(float, one["bbox"])))
        for one in coco["annotations"]
    ]


@pytest.mark.parametrize("name", ["polyonly/coco", "stringids/coco", "stringids/names_as_ids", "hashids/uint64"])
def test_nothing_is_lost_of_the_cases(cases, tmp_path, name):
    source = cases / f"{name}.json"
    found, copy = mended(source, tmp_path / "out.json", source.parent / "images")
    assert errors(found) == []
    assert (found.dropped, found.ok) == (Dropped(0, 0, False), True)
    whole = json.loads((cases / "hashids/int63.json").read_text())  # the same pictures and boxes
    assert objects(copy) == objects(whole)
    assert len(read_coco(tmp_path / "out.json").labels) == 12


def small(images: list[object], categories: list[object], references: list[tuple[object, object]]) -> dict[str, Any]:
    annotations = [
        {"id": at, "image_id": image, "category_id": category, "bbox": [at, 1, 9, 9], "area": 81, "iscrowd": 0}
        for at, (image, category) in enumerate(references, start=1)
    ]
    return {
        "images": [{"id": one, "file_name": f"{at}.png", "height": 40, "width": 60} for at, one in enumerate(images)],
        "annotations": annotations,
        "categories": [{"id": one, "name": f"class {at}"} for at, one in enumerate(categories)],
    }


def write(path: Path, coco: dict[str, Any]) -> Path:
    path.write_text(json.dumps(coco))
    return path


@pytest.mark.parametrize(
    ("images", "categories"),
    [
        (["a", "b", "c"], [1, 2]),
        ([" a", "b ", "c"], ["disc", "bar"]),
        ([1, "b", 2**63], [1, 2.5]),
        ([2**63 - 1, "b", 2**64], [2**63 - 1, "x"]),
        (["9223372036854775813", 7, "8"], ["1", "two"]),
        ([0.5, 1.5, -3], [-1, "two"]),
    ],
)
def test_ids_of_any_kind_are_numbered_where_references_agree(tmp_path, images, categories):
    pairs = [(image, category) for image in images for category in categories]
    found, copy = mended(write(tmp_path / "a.json", small(images, categories, pairs)), tmp_path / "out.json")
    assert (errors(found), found.ok, found.dropped) == ([], True, Dropped(0, 0, False))
    expected = [(f"{i}.png", f"class {c}") for i in range(3) for c in range(2)]
    assert [one[:2] for one in objects(copy)] == expected
    whole = {type(one["id"]) for section in ("images", "categories", "annotations") for one in copy[section]}
    assert whole == {int}
    kept = [one for one in images if type(one) is int and abs(one) < 2**63]
    assert {image["id"] for image in copy["images"]} >= set(kept)
    read_coco(tmp_path / "out.json")


def test_an_odd_id_that_nothing_names_goes_while_a_reference_is_open(tmp_path):
    """Image "b" may be the one that the annotation of image 9 means: kept, it would be trained as empty."""
    coco = small([1, "b"], [1], [(1, 1), (9, 1)])
    found, copy = mended(write(tmp_path / "a.json", coco), tmp_path / "out.json")
    assert [image["id"] for image in copy["images"]] == [1]
    assert (found.dropped, found.ok) == (Dropped(1, 1, False), True)
    coco = small([1, "b"], [1], [(1, 1)])
    found, copy = mended(write(tmp_path / "a.json", coco), tmp_path / "out.json")
    assert [image["id"] for image in copy["images"]] == [1, 2]
    assert found.dropped == Dropped(0, 0, False)


def test_a_copy_without_annotations_is_not_ok(tmp_path):
    coco = small([1, 2], [1], [(1, 1), (2, 1)])
    for annotation in coco["annotations"]:
        del annotation["bbox"]
    found, copy = mended(write(tmp_path / "a.json", coco), tmp_path / "out.json")
    assert copy["annotations"] == []
    assert (found.dropped, found.ok) == (Dropped(0, 2, True), False)
    assert str(found.dropped) == "dropped: 0 images, 2 annotations: nothing is left to train on"


def test_the_command_says_what_was_dropped(rayox_check, tmp_path):
    coco = small([1, 2], [1], [(1, 1), (2, 1), (2, 1)])
    coco["annotations"][0]["bbox"] = [1, 1, 0, 5]
    path, output = write(tmp_path / "a.json", coco), tmp_path / "out.json"
    assert rayox_check(path, "--fix", output).splitlines()[-1] == "dropped: 0 images, 1 annotations"
    result = json.loads(rayox_check(path, "--fix", output, "--json").splitlines()[-1])
    assert result["fixed"]["dropped"] == {"images": 0, "annotations": 1}
    assert result["fixed"]["ok"] is True


@pytest.mark.parametrize("bbox", [..., None, [], [1, 2, 3], ["a", 2, 3, 4], [5, 5, 0, 7], [float("nan"), 1, 2, 3]])
@pytest.mark.parametrize("as_code", [False, True, "text"])
def test_a_box_is_taken_from_the_outline(tmp_path, bbox, as_code):
    coco = small([1], [1], [(1, 1)])
    pixels = np.zeros((40, 60), np.uint8, order="F")
    pixels[10:31, 20:45] = 1
    code = mask.encode(pixels)
    runs = np.diff([0, *(np.flatnonzero(np.diff(pixels.ravel("F"))) + 1), pixels.size]).tolist()
    outlines = {
        False: [[20, 10, 45, 10, 45, 20], [30, 12, 44, 31, 21, 30]],
        True: {"counts": runs, "size": [40, 60]},
        "text": {"counts": code["counts"].decode(), "size": [40, 60]},
    }
    annotation = coco["annotations"][0] | {"segmentation": outlines[as_code], "bbox": bbox}
    if bbox is ...:
        del annotation["bbox"]
    coco["annotations"] = [annotation]
    found, copy = mended(write(tmp_path / "a.json", coco), tmp_path / "out.json")
    assert [one["bbox"] for one in copy["annotations"]] == [[20.0, 10.0, 25.0, 21.0]]
    assert found.ok


def test_an_outline_that_encloses_nothing_gives_no_box():
    for outline in (
        None,
        [],
        [[1, 1, 5, 1, 9, 1]],
        [[1, 2]],
        "abc",
        {"counts": [12], "size": [3, 4]},
        {"counts": "~", "size": [3, 4]},
    ):
        assert box_of_segmentation(outline) is None


@given(st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_run_length_codes_have_the_box_that_pycocotools_gives(height, width, random):
    pixels = np.array([[random.random() < 0.3 for _ in range(width)] for _ in range(height)], np.uint8, order="F")
    code = mask.encode(pixels)
    expected = mask.toBbox(code).tolist()
    found = box_of_segmentation({"counts": code["counts"].decode(), "size": [height, width]})
    assert found == (expected if pixels.any() else None)
