"""COCO files: what is read, what is put right, what is refused and how it is said."""

import contextlib
import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from real_cells import SOURCE

from rayox_model.core.errors import DataError
from rayox_platform.data.coco import CocoDataset, read_coco


def small_coco() -> dict:
    """Two images in an order other than their ids', three categories of which one is not used."""
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "height": 100, "width": 200},
            {"id": 3, "file_name": "a.jpg", "height": 50, "width": 60},
        ],
        "annotations": [
            {"id": 0, "image_id": 3, "category_id": 9, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0},
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [150, 10, 30.5, 40], "area": 900, "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [5, 5, 5, 5], "area": 25, "iscrowd": 1},
        ],
        "categories": [{"id": 9, "name": "nine"}, {"id": 2, "name": "two"}, {"id": 4, "name": "unused"}],
    }


@pytest.fixture
def write(tmp_path):
    def write_file(content: object) -> Path:
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_file


def test_classes_are_all_categories_in_order_of_their_ids(write):
    dataset = read_coco(write(small_coco()))
    assert dataset.classes == ("two", "unused", "nine")
    assert dataset.category_ids.tolist() == [2, 4, 9]


def test_images_keep_the_file_s_order_and_get_their_annotations(write):
    dataset = read_coco(write(small_coco()))
    assert dataset.image_ids.tolist() == [7, 3]
    assert dataset.offsets.tolist() == [0, 1, 3]
    assert dataset.annotation_ids.tolist() == [1, 0, 2]
    assert dataset.boxes[0].tolist() == [150, 10, 180.5, 50]
    assert dataset.labels.tolist() == [0, 2, 0]


def test_crowds_are_kept_for_evaluation_and_left_out_of_training(write):
    dataset = read_coco(write(small_coco()))
    boxes, labels = dataset.training_annotations(1)
    assert dataset.iscrowd.tolist() == [False, False, True]
    assert boxes.tolist() == [[1, 2, 11, 22]]
    assert labels.tolist() == [2]


def test_training_clips_and_drops_while_evaluation_sees_the_file_as_it_is(write):
    coco = small_coco()
    odd = [[-5, -5, 20, 20], [190, 90, 50, 50], [300, 10, 5, 5], [10, 10, 0, 5], [10, 10, -4, 5]]
    coco["annotations"] = [
        {"id": i, "image_id": 7, "category_id": 2, "bbox": bbox, "area": 4.0, "iscrowd": 0}
        for i, bbox in enumerate(odd)
    ]
    dataset = read_coco(write(coco))
    assert dataset.training_annotations(0)[0].tolist() == [[0, 0, 15, 15], [190, 90, 200, 100]]
    assert dataset.bboxes_xywh.tolist() == odd
    assert dataset.notes == {
        "boxes without area in the image (not trained)": 3,
        "boxes past the image's edge (clipped)": 2,
    }


def test_absent_area_and_iscrowd_have_their_defaults(write):
    coco = small_coco()
    for annotation in coco["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    dataset = read_coco(write(coco))
    assert dataset.areas.tolist() == [30.5 * 40, 200, 25]
    assert not dataset.iscrowd.any()
    assert set(dataset.notes.values()) == {3}


def test_a_test_set_without_annotations_is_read(write):
    coco = small_coco()
    del coco["annotations"]
    dataset = read_coco(write(coco))
    assert len(dataset) == 2
    assert dataset.training_annotations(0)[0].shape == (0, 4)


def test_it_survives_pickling(write):
    dataset = read_coco(write(small_coco()))
    copied = pickle.loads(pickle.dumps(dataset))
    assert isinstance(copied, CocoDataset)
    assert copied.boxes.tolist() == dataset.boxes.tolist()


DEFECTS = {
    "three numbers": (("annotations", 0, "bbox", [1, 2, 3]), "annotation 0: bbox is [1, 2, 3]"),
    "text": (("annotations", 1, "bbox", ["1", "2", "3", "4"]), "annotation 1: bbox is ['1', '2', '3', '4']"),
    "not a number": (("annotations", 1, "bbox", [float("nan"), 2, 3, 4]), "annotation 1: bbox is [nan, 2, 3, 4]"),
    "beyond any image": (("annotations", 1, "bbox", [1e300, 2, 3, 4]), "annotation 1: bbox is [1e+300, 2, 3, 4]"),
    "no box": (("annotations", 2, "bbox", None), "annotation 2: bbox is missing"),
    "unknown image": (("annotations", 2, "image_id", 8), "annotation 2: image_id 8 is not an image of the file"),
    "unknown category": (("annotations", 2, "category_id", 8), "annotation 2: category_id 8 is not a category"),
    "crowd in words": (("annotations", 2, "iscrowd", "no"), "annotation 2: iscrowd is 'no'"),
    "negative area": (("annotations", 2, "area", -1), "annotation 2: area is -1"),
    "id in words": (("images", 0, "id", "seven"), "images[0].id is 'seven'"),
    "image twice": (("images", 0, "id", 3), "image id 3 stands 2 times"),
    "file twice": (("images", 0, "file_name", "a.jpg"), "file_name 'a.jpg' stands 2 times"),
    "no file": (("images", 0, "file_name", None), "image 7: file_name missing is not text"),
    "negative height": (("images", 0, "height", -4), "image 7: height is -4"),
    "category twice": (("categories", 0, "id", 2), "category id 2 stands 2 times"),
    "name twice": (("categories", 0, "name", "two"), "category name 'two' stands 2 times"),
    "no name": (("categories", 0, "name", ""), "category 9: name '' is not text"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_would_train_wrongly_is_refused_by_file_and_record(defect, write):
    (key, position, field, value), expected = DEFECTS[defect]
    coco = small_coco()
    coco[key][position][field] = value
    path = write(coco)
    with pytest.raises(DataError) as caught:
        read_coco(path)
    assert caught.value.message.startswith(f"{path}: {expected}")
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", ["", "  \n", "[]", "{}", '"text"', "{", '{"images": 5}', '{"images": [5]}', "[" * 9999]
)
def test_no_coco_is_a_data_error_naming_the_file(content, write):
    path = write(content)
    with pytest.raises(DataError, match=path.name):
        read_coco(path)


def test_missing_file_and_folder_are_data_errors(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_coco(path)


def many_boxes(boxes: list[list[float]]) -> dict:
    coco = small_coco()
    coco["annotations"] = [
        {"id": i, "image_id": 7, "category_id": 2, "bbox": box, "area": 9, "iscrowd": 0} for i, box in enumerate(boxes)
    ]
    return coco


def test_corners_and_fractions_are_told_from_coco_boxes(write):
    generator = np.random.default_rng(0)
    x, y = generator.uniform(0, 150, 30), generator.uniform(0, 60, 30)
    width, height = generator.uniform(5, 50, 30), generator.uniform(5, 40, 30)
    corners = np.stack([x, y, x + width, y + height], axis=1)
    with pytest.raises(DataError, match="look like corners"):
        read_coco(write(many_boxes(corners.tolist())))
    with pytest.raises(DataError, match="fractions of the image"):
        read_coco(write(many_boxes((corners / 200).tolist())))
    read_coco(write(many_boxes(np.stack([x, y, width, height], axis=1).tolist())))


def test_sizes_may_come_later_and_clip_then(write):
    coco = small_coco()
    del coco["images"][0]["height"]
    coco["annotations"][1]["bbox"] = [150, 10, 100, 200]
    dataset = read_coco(write(coco))
    assert dataset.heights.tolist() == [0, 50]
    assert dataset.boxes[0].tolist() == [150, 10, 250, 210]
    sized = dataset.with_sizes(np.array([100, 50], np.int32), np.array([200, 60], np.int32))
    assert sized.boxes[0].tolist() == [150, 10, 200, 100]


def test_every_mutation_of_a_record_loads_or_is_a_data_error(write):
    """Any value of any type in any field: never another exception."""
    values = [
        None,
        True,
        -1,
        0,
        1.5,
        1e308,
        10**30,
        float("inf"),
        float("nan"),
        "",
        "x",
        "\ud800",
        [],
        [[]],
        {},
        [0] * 4,
    ]
    for key in ("images", "annotations", "categories"):
        for field in [*small_coco()[key][0], None]:
            for value in values:
                coco = copy.deepcopy(small_coco())
                if field is None:
                    coco[key][0] = value
                else:
                    coco[key][0][field] = value
                with contextlib.suppress(DataError):
                    read_coco(write(coco))


def test_the_defective_files_load_or_are_data_errors(shared_data):
    edge = shared_data / "edge"
    names = json.loads((edge / "json_manifest.json").read_text())
    refused = set()
    for name in names:
        try:
            read_coco(edge / "json" / name)
        except DataError:
            refused.add(name.removesuffix(".json"))
    assert len(names) == 38
    assert refused == {
        *("bbox_absent", "bbox_null", "bbox_strings", "bbox_three", "inf_bbox", "nan_bbox"),
        *("dup_category_id", "dup_category_name", "dup_file_name"),
        *("unknown_category", "unknown_image", "no_categories", "no_images", "duplicate_keys"),
        *("empty_file", "empty_object", "top_level_list", "truncated"),
    }


def test_a_real_file_has_every_category_used_or_not():
    dataset = read_coco(SOURCE / "annotations" / "instances_val.json")
    assert len(dataset) == 12
    assert len(dataset.classes) == 3
    assert 0 in dataset.annotation_ids
    assert set(dataset.labels.tolist()) == {1, 2}


def test_every_class_of_coco_is_a_class(shared_data):
    assert len(read_coco(shared_data / "coco_dev" / "annotations" / "instances_val2017.json").classes) == 80
