"""The data set's fingerprint: the same however the file is written, another with any change of what it says."""

import copy
import json
import random
from pathlib import Path

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.fingerprint import Fingerprint, fingerprint
from rayox_platform.data.images import folder_images

COCO = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "height": 100, "width": 200},
        {"id": 3, "file_name": "a.jpg", "height": 50, "width": 60},
    ],
    "annotations": [
        {"id": 0, "image_id": 3, "category_id": 9, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0},
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [150, 10, 30.5, 40], "area": 900, "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 2, "bbox": [5, 5, 5, 5], "area": 25, "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 2, "bbox": [5, 0, 5, 5], "area": 25, "iscrowd": 0},
    ],
    "categories": [{"id": 9, "name": "nine"}, {"id": 2, "name": "two"}, {"id": 4, "name": "unused"}],
}


@pytest.fixture
def taken(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(name.encode() * 1000)

    def take(coco: dict, **how: object) -> Fingerprint:
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(coco, **how))
        return fingerprint(folder_images(read_coco(path), tmp_path))

    return take


def test_it_does_not_depend_on_how_the_file_is_written(taken):
    expected = taken(COCO)
    shuffle = random.Random(0).shuffle
    for indent in (None, 1, 4):
        other = copy.deepcopy(COCO)
        for key in other:
            shuffle(other[key])
        for number, annotation in enumerate(other["annotations"]):
            annotation["id"] = 100 - number
            annotation["segmentation"] = [[1, 2, 3, 4, 5, 6]]
        assert taken({"info": {}} | other, indent=indent, sort_keys=indent == 4) == expected


CHANGES = [
    *(("annotations", 0, "bbox", box) for box in ([1, 2, 10, 21], [1, 2, 20, 10], [1.0000001, 2, 10, 20])),
    ("annotations", 0, "area", 201),
    ("annotations", 0, "category_id", 2),
    ("annotations", 0, "image_id", 7),
    ("annotations", 2, "iscrowd", 0),
    ("images", 0, "height", 101),
    ("images", 0, "width", 201),
    ("images", 0, "file_name", "c.jpg"),
    ("categories", 2, "name", "other"),
    ("categories", 2, "id", 5),
]


@pytest.mark.parametrize(("key", "position", "field", "value"), CHANGES)
def test_any_change_of_an_annotation_changes_it(taken, key, position, field, value):
    before = taken(COCO)
    coco = copy.deepcopy(COCO)
    coco[key][position][field] = value
    after = taken(coco)
    assert after.annotations != before.annotations
    assert after.digest != before.digest
    assert (after.images == before.images) == (field != "file_name")


def test_records_added_and_taken_away_change_it(taken):
    seen = {taken(COCO).digest}
    for key in ("annotations", "images", "categories"):
        coco = copy.deepcopy(COCO)
        coco[key].append(coco[key][0] | {"id": 50, "file_name": "c.jpg", "name": "c"})
        seen.add(taken(coco).digest)
    without = copy.deepcopy(COCO)
    del without["annotations"][3]
    seen.add(taken(without).digest)
    assert len(seen) == 5


def test_one_bit_of_one_image_changes_it(taken, tmp_path):
    before = taken(COCO)
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[2500] ^= 1
    (tmp_path / "a.jpg").write_bytes(content)
    after = taken(COCO)
    assert after.annotations == before.annotations
    assert after.images != before.images
    assert after.digest != before.digest


def test_images_that_change_places_change_it(taken, tmp_path):
    before = taken(COCO)
    (tmp_path / "a.jpg").rename(tmp_path / "x")
    (tmp_path / "b.jpg").rename(tmp_path / "a.jpg")
    (tmp_path / "x").rename(tmp_path / "b.jpg")
    assert taken(COCO).images != before.images


def test_a_missing_image_is_a_data_error_with_its_path(taken, tmp_path):
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: no such image"):
        taken(COCO)


def test_progress_is_told_of_every_image(real_cells: Path):
    images = folder_images(read_coco(real_cells / "annotations/instances_train.json"), real_cells / "images")
    told: list[tuple[int, int]] = []
    fingerprint(images, lambda done, total: told.append((done, total)))
    assert told[-1] == (210, 210)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
