"""YOLO and COCO: round trips, hand-worked boxes, and whatever may stand in such files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from real_cells import SOURCE

from rayox_model.core.errors import DataError
from rayox_platform.data.check.checker import CheckSettings, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_threads
from rayox_platform.data.coco import read_coco
from rayox_platform.data.convert.coco_file import read_coco_labels, write_coco
from rayox_platform.data.convert.yolo import read_class_file, read_yolo, write_yolo


def images_in(folder: Path, *names: str, height: int = 48, width: int = 64) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((height, width, 3), np.uint8))
    return folder


def yolo_set(folder: Path, lines: dict[str, str], names: str = "names: [a, b]\n") -> Path:
    images_in(folder / "images", *(f"{name}.png" for name in lines))
    for name, text in lines.items():
        file = folder / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "data.yaml").write_text(names)
    return folder


def test_yolo_boxes_are_centers_in_fractions(tmp_path):
    source = yolo_set(tmp_path, {"train/x": "1 0.5 0.5 0.25 0.5\n\n0 0.5 0.5 1 1\n", "y": ""})
    labels = read_yolo(source)
    assert labels.classes == ("a", "b")
    assert [image.file_name for image in labels.images] == ["train/x.png", "y.png"]
    assert [box.bbox for box in labels.images[0].boxes] == [(24, 12, 16, 24), (0, 0, 64, 48)]
    assert [box.label for box in labels.images[0].boxes] == [1, 0]


def test_yolo_polygons_are_read_as_their_boxes(tmp_path):
    source = yolo_set(tmp_path, {"x": "0 0.25 0.25 0.75 0.25 0.5 0.75\n"})
    assert read_yolo(source).images[0].boxes[0].bbox == (16, 12, 32, 24)


def test_yolo_in_other_layouts(tmp_path):
    names = {0: "a", 1: "b"}
    source = yolo_set(tmp_path / "mapping", {"x": "1 0.5 0.5 1 1"}, f"names: {names}\n")
    assert read_yolo(source / "data.yaml").classes == ("a", "b")
    flat = images_in(tmp_path / "flat", "x.png")
    (flat / "x.txt").write_text("1 0.5 0.5 1 1")
    (flat / "classes.txt").write_text("a\nb\n\n")
    assert read_yolo(flat).images[0].boxes[0].label == 1
    split = yolo_set(tmp_path / "split", {"train/x": "0 0.5 0.5 1 1", "val/y": "1 0.5 0.5 1 1"})
    (image,) = read_yolo(split, split / "images" / "val").images
    assert (image.file_name, image.boxes[0].label) == ("y.png", 1)


def test_yolo_reads_sizes_as_viewers_show_photos(tmp_path, shared_data):
    source = yolo_set(tmp_path, {"x": "0 0.5 0.5 0.5 0.25\n"})
    turned = shared_data / "edge" / "images" / "coco_exif6.jpg"  # 160 × 120 as stored
    (source / "images" / "x.png").write_bytes(turned.read_bytes())
    (image,) = read_yolo(source).images
    assert (image.height, image.width) == (160, 120)
    assert image.boxes[0].bbox == (30, 60, 60, 40)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 0.5 0.5 0.1 0.1", "class '2' is not a number from 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class '-1'"),
        ("0.0 0.5 0.5 0.1 0.1", "class '0.0'"),
        ("a 0.5 0.5 0.1 0.1", "class 'a'"),
        ("0 0.5 0.5 0.1", "3 numbers after the class"),
        ("0 0.5 0.5 0.1 0.1 0.9", "5 numbers after the class"),
        ("0", "0 numbers after the class"),
        ("0 0.5 0.5 0.1 x", "could not convert"),
        ("0 0.5 0.5 nan 0.1", "not finite"),
        ("0 0.5 0.5 0 0.1", "no area"),
        ("0 0.5 0.5 -0.1 0.1", "no area"),
        ("0 0.9 0.5 0.5 0.1", "leaves the image"),
        ("0 32 24 10 10", "pixels, not fractions?"),
    ],
)
def test_bad_yolo_lines_are_named(tmp_path, line, says):
    source = yolo_set(tmp_path, {"x": f"0 0.5 0.5 1 1\n{line}\n"})
    with pytest.raises(DataError) as refused:
        read_yolo(source)
    assert refused.value.message.startswith(f"{source / 'labels' / 'x.txt'}:2  ")
    assert says in refused.value.message


def test_all_bad_lines_are_named_at_once(tmp_path):
    source = yolo_set(tmp_path, {"x": "0 1\n0 2\n", "y": "9 0.5 0.5 1 1\n" * 30})
    (source / "labels" / "z.txt").write_text("")
    (source / "images" / "y.png").write_bytes(b"text")
    with pytest.raises(DataError) as refused:
        read_yolo(source)
    lines = refused.value.message.splitlines()
    assert lines[0].startswith(f"{source / 'labels' / 'x.txt'}:1  ")
    assert "y.png  no image" in lines[2]
    assert lines[3].endswith("z.txt  there is no image of this name")
    (source / "images" / "y.png").write_bytes((source / "images" / "x.png").read_bytes())
    with pytest.raises(DataError) as refused:
        read_yolo(source)
    lines = refused.value.message.splitlines()
    assert (len(lines), lines[-1]) == (21, "… and 13 more")


@pytest.mark.parametrize(
    "names", ["names: 3\n", "names: [a, a]\n", "names: [a, '']\n", "names: {1: a}\n", "a: [\n", "[]"]
)
def test_bad_yolo_classes(tmp_path, names):
    source = yolo_set(tmp_path, {"x": "0 0.5 0.5 1 1"}, names)
    with pytest.raises(DataError, match=r"data\.yaml"):
        read_yolo(source)
    assert read_yolo(source, classes=["a"]).classes == ("a",)


def test_yolo_sets_without_classes_or_images(tmp_path):
    with pytest.raises(DataError, match=r"no data\.yaml and no classes\.txt"):
        read_yolo(images_in(tmp_path, "x.png"))
    (tmp_path / "classes.txt").write_text("a\n\nb\n")
    with pytest.raises(DataError, match="has no name"):
        read_class_file(tmp_path / "classes.txt")
    with pytest.raises(DataError, match="no images"):
        read_yolo(tmp_path, tmp_path / "gone", ["a"])
    with pytest.raises(DataError, match="no such file"):
        read_yolo(tmp_path / "gone")


@pytest.fixture(params=["cells", "coco"])
def real_split(request) -> tuple[Path, Path]:
    """Annotations and images of real photos: the cells of every clone, and COCO's where they are at hand."""
    if request.param == "cells":
        return SOURCE / "annotations/instances_val.json", SOURCE / "images"
    coco = request.getfixturevalue("shared_data") / "coco_dev"
    return coco / "annotations/instances_val2017.json", coco / "val2017"


def test_coco_to_yolo_and_back_gives_the_same_boxes(tmp_path, real_split):
    annotations, images = real_split
    labels = read_coco_labels(annotations)
    left_out = write_yolo(labels, tmp_path / "yolo")
    (tmp_path / "yolo" / "images").symlink_to(images)
    crowds = sum(box.crowd for image in labels.images for box in image.boxes)
    assert crowds == (8 if images.name == "val2017" else 0)
    assert left_out == ({"crowds (left out: YOLO has none)": crowds} if crowds else {})
    back = read_yolo(tmp_path / "yolo")
    assert back.classes == labels.classes
    write_coco(back, tmp_path / "back.json")
    assert [found.code for found in checked(tmp_path / "back.json", images) if found.severity == "error"] == []
    before, after = {image.file_name: image for image in labels.images}, read_coco_labels(tmp_path / "back.json")
    assert {image.file_name for image in after.images} == before.keys()
    for image in after.images:
        boxes = [box for box in before[image.file_name].boxes if not box.crowd]
        assert [box.label for box in image.boxes] == [box.label for box in boxes]
        np.testing.assert_allclose([box.bbox for box in image.boxes], [box.bbox for box in boxes], atol=1e-4)


def checked(path: Path, images: Path) -> list:
    return check_file(path, CheckSettings(folder=ImageFolder(str(images)), depth="header"), look_with_threads)[0]


def test_coco_to_coco_file_keeps_ids_areas_and_crowds(tmp_path, real_split):
    source, _ = real_split
    write_coco(read_coco_labels(source), tmp_path / "coco.json")
    before, after = read_coco(source), read_coco(tmp_path / "coco.json")
    for name in ("category_ids", "image_ids", "heights", "widths", "labels", "bboxes_xywh", "iscrowd", "offsets"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), err_msg=name)
    np.testing.assert_allclose(after.areas, before.areas, atol=1e-6)
    assert (after.classes, after.file_names) == (before.classes, before.file_names)


def test_sizes_that_coco_leaves_out_come_from_the_images(tmp_path):
    coco = {"images": [{"id": 1, "file_name": "x.png"}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match="sizes of images are missing"):
        read_coco_labels(tmp_path / "coco.json")
    (image,) = read_coco_labels(tmp_path / "coco.json", images_in(tmp_path / "images", "x.png")).images
    assert (image.height, image.width) == (48, 64)


def test_images_of_one_name_cannot_share_a_text(tmp_path):
    images = [{"id": i, "file_name": name, "height": 9, "width": 9} for i, name in enumerate(("x.png", "x.jpg"))]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"the same x\.txt"):
        write_yolo(read_coco_labels(tmp_path / "coco.json"), tmp_path / "yolo")
    assert not (tmp_path / "yolo").exists()
