"""Checking annotations: every defect by itself gives its finding and no other."""

import json
from pathlib import Path

import pytest
from checked import LOOK, check, codes, written
from spoiled_coco import HEIGHT, SPOILED, WIDTH, clean_coco, spoiled

from rayox_model.core.errors import DataError
from rayox_platform.data.check import fast
from rayox_platform.data.check.checker import CheckSettings, check_document
from rayox_platform.data.check.files import ImageFolder
from rayox_platform.data.check.finding_kinds import KIND_OF, KINDS
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.mend import mend_file
from rayox_platform.data.check.reading import read_leniently
from rayox_platform.data.resolve import resolve_split

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


def test_a_clean_data_set_has_no_findings(tmp_path, check_settings):
    assert check(written(tmp_path / "a.json", clean_coco()), check_settings) == []
    assert check(written(tmp_path / "a.json", clean_coco()), CheckSettings()) == []


@pytest.mark.parametrize("name", SPOILED)
def test_each_defect_gives_its_findings_and_no_others(tmp_path, check_settings, name):
    found = check(written(tmp_path / "a.json", spoiled(name)), check_settings)
    assert codes(found) == SPOILED[name][1]
    assert all(finding.count > 0 and finding.where and finding.detail and finding.fix for finding in found)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_coco_file_at_all(tmp_path, check_settings, name):
    content, expected = FILES[name]
    assert codes(check(written(tmp_path / "a.json", content), check_settings)) == expected


def test_files_that_are_none(tmp_path, check_settings):
    assert codes(check(tmp_path, check_settings)) == {"unreadable-file"}
    assert codes(check(tmp_path / "gone.json", check_settings)) == {"unreadable-file"}


@pytest.mark.parametrize("name", EDGE)
def test_edge_files(shared_data, name):
    check_settings = CheckSettings(folder=ImageFolder(str(shared_data / "edge" / "base_images")))
    base = {"unused-category", "few-images"}  # five images of COCO do not show all of its classes
    assert codes(check(shared_data / "edge" / "json" / name, check_settings)) - base == EDGE[name]


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
    check_settings, quick, slow = CheckSettings(), Findings(), Findings()
    document = read_leniently(path, slow)
    assert document is not None
    check_document(document, check_settings, LOOK, slow)
    document.top = top
    check_document(document, check_settings, LOOK, quick)
    assert quick.all() == slow.all()


def test_the_fast_reader_takes_plain_files_and_leaves_the_others():
    text = json.dumps(clean_coco() | {"licenses": [{"id": 1, "name": "n", "url": "u"}], "info": {"year": 2026}})
    assert fast.read_fast(text.encode()) is not None
    for name in ("a key twice", "a section twice", "cut in a text", "UTF-16", "detections", "nested too deep"):
        assert fast.read_fast(FILES[name][0]) is None


def test_large_files_are_read_fast(tmp_path, check_settings, monkeypatch):
    monkeypatch.setattr("rayox_platform.data.check.reading.FROM_BYTES", 10)
    for name in ("corners", "run lengths too short", "bbox of text", "annotations absent", "another key"):
        found = check(written(tmp_path / "a.json", spoiled(name)), check_settings)
        assert codes(found) == SPOILED[name][1]


def test_a_finding_counts_all_and_shows_the_first(tmp_path, check_settings):
    coco = clean_coco()
    for record in coco["annotations"][4:14]:
        record["bbox"] = None
    (found,) = check(written(tmp_path / "a.json", coco), check_settings)
    assert (found.code, found.count) == ("malformed-bbox", 10)
    assert found.where == "annotations[4] (id 5); annotations[5] (id 6); annotations[6] (id 7); … 7 more"


def test_several_defects_are_all_found_errors_first(tmp_path, check_settings):
    coco = clean_coco()
    for name in ("area 0", "bbox null", "file name twice", "annotation id twice"):
        SPOILED[name][0](coco)
    found = check(written(tmp_path / "a.json", coco), check_settings)
    assert codes(found) == {"malformed-bbox", "duplicate-file-name", "duplicate-annotation-id"}  # the area has no box
    coco["annotations"][20]["area"] = 0
    found = check(written(tmp_path / "a.json", coco), check_settings)
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


def test_the_table_in_the_documentation_is_this_one():
    text = (Path(__file__).resolve().parents[2] / "platform" / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{kind.code}` | {kind.severity} | {kind.means} | {kind.fix} |" for kind in KINDS]
    assert "\n".join(["| code | severity | means | fix |", "|---|---|---|---|", *rows]) in text
