"""Numbers of a data set worked out by hand, and its picture."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.check.files import ImageFolder, look_with_threads
from rayox_platform.data.stats.measure import ClassCount, DataStats, Shares, measure, numbers_of
from rayox_platform.data.stats.picture import draw_stats


def stats(path: Path, image_size: int = 640, folder: Path | None = None) -> DataStats:
    images = ImageFolder(str(folder)) if folder is not None else None
    return numbers_of(measure(path, images, look_with_threads, image_size), image_size)


@pytest.fixture
def path(tmp_path) -> Path:
    """Three images; a small, a medium and a large box, a crowd, and an annotation that is none."""
    images = [(1, 100, 200), (2, 100, 200), (3, 400, 320)]
    boxes = [(1, 9, [0, 0, 10, 20], 0), (1, 2, [0, 0, 40, 40], 0), (3, 9, [0, 0, 100, 200], 0)]
    boxes += [(3, 9, [0, 0, 50, 50], 1), (3, 9, [0, 0, 0, 50], 0)]
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, h, w in images],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": crowd}
            for n, (image, category, bbox, crowd) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 9, "name": "nine"}, {"id": 2, "name": "two"}, {"id": 4, "name": "unused $x^2$ 図"}],
    }
    file = tmp_path / "a.json"
    file.write_text(json.dumps(coco))
    return file


def test_numbers(path):
    found = stats(path)
    assert (found.images, found.boxes, found.crowds, found.empty_images, found.left_out) == (3, 3, 1, 1, 1)
    assert found.classes == (
        ClassCount("two", 1, 1),
        ClassCount("unused $x^2$ 図", 0, 0),
        ClassCount("nine", 2, 2),
    )
    assert found.sizes == Shares(1, 1, 1)
    assert found.sizes_at_training == Shares(0, 1, 2)  # 32 × 64, 128 × 128, 160 × 320
    assert stats(path, 320).sizes_at_training == Shares(1, 1, 1)  # 16 × 32, 64 × 64, 80 × 160
    assert found.boxes_per_image == {"min": 0, "5%": 0.1, "median": 1, "95%": 1.9, "max": 2, "mean": 1}
    assert found.aspect_ratios["median"] == 0.5
    assert found.shorter_sides_at_training["min"] == 32
    assert found.image_sizes == (("200 × 100", 2), ("320 × 400", 1))


def test_sizes_that_are_left_out_come_from_the_images(path, tmp_path):
    coco = json.loads(path.read_text())
    del coco["images"][2]["height"]
    path.write_text(json.dumps(coco))
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((400, 320, 3), np.uint8))
    assert stats(path).image_sizes == (("200 × 100", 2), ("unknown", 1))
    assert stats(path, folder=tmp_path).image_sizes == (("200 × 100", 2), ("320 × 400", 1))
    with pytest.raises(DataError, match="no such folder"):
        stats(path, folder=tmp_path / "gone")


@pytest.mark.slow
def test_a_test_set_has_numbers_too(path, tmp_path):
    coco = json.loads(path.read_text())
    path.write_text(json.dumps(coco | {"annotations": []}))
    found = stats(path)
    assert (found.boxes, found.empty_images, found.aspect_ratios) == (0, 3, {})
    draw_stats(measure(path, None, look_with_threads, 640), found, path.name, tmp_path / "a.png")


def test_what_has_no_numbers(path):
    for content, says in (
        ("[]", "not-coco"),
        ('{"images": [], "categories": []}', "no images"),
        ("{", "truncated-json"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=says):
            stats(path)


@pytest.mark.slow
def test_the_picture_of_real_data_shows_colours_on_white(shared_data, tmp_path):
    source = shared_data / "coco_dev" / "annotations" / "instances_val2017.json"
    measured = measure(source, None, look_with_threads, 640)
    draw_stats(measured, numbers_of(measured, 640), "val", tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture.shape == (1080, 1920, 3)
    assert 0.5 < (picture == 255).all(axis=2).mean() < 0.95
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


@pytest.mark.slow
def test_the_picture_of_every_class_name(path, tmp_path):
    measured = measure(path, None, look_with_threads, 640)
    for name in ("a.png", "a.svg", "a.pdf"):
        draw_stats(measured, numbers_of(measured, 640), "$ a_b", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
