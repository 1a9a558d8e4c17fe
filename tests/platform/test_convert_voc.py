"""VOC's XML files: hand-worked boxes, and whatever may stand in such files."""

import json
from pathlib import Path

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.convert.coco_file import write_coco
from rayox_platform.data.convert.voc import read_voc
from rayox_platform.data.convert.yolo import write_yolo

VOC = """<annotation>
  <folder>VOC2012</folder>
  <filename>{name}.png</filename>
  <size><width>64</width><height>48</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}
</annotation>
"""


def voc_object(name: str, *corners: object, difficult: int = 0) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"  <object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


@pytest.fixture
def voc(tmp_path):
    def write(objects: dict[str, list[str]]) -> Path:
        folder = tmp_path / "voc" / "Annotations"
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in objects.items():
            (folder / f"{name}.xml").write_text(VOC.format(name=name, objects="\n".join(lines)))
        return tmp_path / "voc"

    return write


def test_voc_boxes_count_from_one_and_cover_both_ends(voc, tmp_path):
    source = voc({"b": [voc_object("dog", 1, 1, 64, 48), voc_object("cat", 11, 21, 20, 40, difficult=1)], "a": []})
    labels = read_voc(source)
    assert labels.classes == ("cat", "dog")
    assert [image.file_name for image in labels.images] == ["a.png", "b.png"]
    assert [box.bbox for box in labels.images[1].boxes] == [(0, 0, 64, 48), (10, 20, 10, 20)]
    write_coco(labels, tmp_path / "coco.json")
    dog, cat = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert (dog["id"], dog["category_id"], dog["area"], dog["iscrowd"]) == (1, 2, 64 * 48, 0)
    assert (cat["bbox"], cat["difficult"], cat["ignore"]) == ([10, 20, 10, 20], 1, 1)
    assert "difficult" not in dog
    assert read_coco(tmp_path / "coco.json").classes == ("cat", "dog")


def test_voc_lists_and_classes(voc):
    source = voc({"a": [voc_object("dog", 1, 1, 9, 9)], "b": [], "c": []})
    lists = source / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("c\na  1\n")
    labels = read_voc(lists / "train.txt", ["cat", "dog"])
    assert [image.file_name for image in labels.images] == ["c.png", "a.png"]
    assert labels.images[1].boxes[0].label == 1
    (lists / "train.txt").write_text("gone\n")
    with pytest.raises(DataError, match=r"gone.xml  cannot be read"):
        read_voc(lists / "train.txt")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (voc_object("dog", 20, 5, 10, 9), "is not a box in 64 × 48"),
        (voc_object("dog", 70, 5, 90, 9), "is not a box"),
        (voc_object("dog", "nan", 5, 10, 9), "is not a box"),
        (voc_object("dog", "ten", 5, 10, 9), "could not convert"),
        (voc_object("", 1, 5, 10, 9), "without a name"),
        ("  <object><name>dog</name></object>", "without <bndbox>"),
        (voc_object("cow", 1, 5, 10, 9), "'cow' is none of the classes"),
    ],
)
def test_bad_voc_objects_are_named_with_their_line(voc, line, says):
    source = voc({"a": [voc_object("dog", 1, 1, 9, 9), line]})
    with pytest.raises(DataError) as refused:
        read_voc(source, ["dog"])
    assert f"{source / 'Annotations' / 'a.xml'}:7" in refused.value.message
    assert says in refused.value.message


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<annotation>&x;</annotation>", "undefined entity"),
        ("<annotation><size>", "no XML"),
        ("", "no XML"),
        ("not xml", "no XML"),
        ("<kml></kml>", "<kml> where VOC has <annotation>"),
        ("<annotation/>", "no <size>"),
        ("<annotation><size><width>0</width><height>5</height></size></annotation>", "width '0'"),
        (VOC.format(name="../../a", objects=""), "leads out of the folder"),
    ],
)
def test_what_is_no_voc_file(voc, text, says):
    source = voc({"a": [voc_object("dog", 1, 1, 9, 9)]})
    (source / "Annotations" / "b.xml").write_text(text)
    with pytest.raises(DataError, match=r"b\.xml") as refused:
        read_voc(source)
    assert says in refused.value.message


def test_odd_voc_encodings_are_refused(voc):
    source = voc({"a": [voc_object("dog", 1, 1, 9, 9)]})
    for encoding in ("gb2312", "none-such"):
        (source / "Annotations" / "b.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>')
        with pytest.raises(DataError, match=r"b\.xml:1  no XML"):
            read_voc(source)


def test_voc_boxes_at_the_edges_are_clipped(voc):
    source = voc({"a": [voc_object("dog", 0, 0, 65, 48), voc_object("dog", 1, 1, 64, 48)]})
    labels = read_voc(source)
    assert [box.bbox for box in labels.images[0].boxes] == [(0, 0, 64, 48), (0, 0, 64, 48)]
    assert labels.notes == {"boxes past the edge, also those that begin at 0 (clipped)": 1}


def test_voc_files_of_one_image_are_named(voc):
    source = voc({"a": [voc_object("dog", 1, 1, 9, 9)]})
    (source / "Annotations" / "b.xml").write_text((source / "Annotations" / "a.xml").read_text())
    with pytest.raises(DataError, match=r"b\.xml  filename 'a\.png' is that of a\.xml too"):
        read_voc(source)


def test_voc_folders_without_anything(tmp_path, voc):
    with pytest.raises(DataError, match="no XML files"):
        read_voc(tmp_path)
    with pytest.raises(DataError, match="no objects"):
        read_voc(voc({"a": []}))


def test_what_yolo_cannot_say_is_counted(tmp_path, voc):
    labels = read_voc(voc({"a": [voc_object("dog", 1, 1, 100, 48, difficult=1)]}))
    assert write_yolo(labels, tmp_path / "yolo") == {"difficult flags (left out: YOLO has none)": 1}
    assert (tmp_path / "yolo" / "labels" / "a.txt").read_text() == "0 0.5 0.5 1 1\n"
    assert (tmp_path / "yolo" / "classes.txt").read_text() == "dog\n"
