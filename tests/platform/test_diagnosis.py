"""AP 0: each cause made by hand, and told from the others."""

import json

import numpy as np
import pytest

from rayox_model.core.samples import Detections
from rayox_platform.data.coco import read_coco
from rayox_platform.evaluate.metrics import coco_metrics
from rayox_platform.train.diagnosis import Progress, diagnose

LATE = Progress(step=500, warmup_steps=10)


@pytest.fixture
def dataset(tmp_path):
    """Three images of 100 px; the first two have a cat and a dog each, well inside."""
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 100} for i in range(3)],
        "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 2 * image + number, "image_id": image, "category_id": (4, 9)[number], "bbox": box}
            | {"area": box[2] * box[3], "iscrowd": 0}
            for image in range(2)
            for number, box in enumerate(([40, 30, 50, 55], [10, 20, 25, 30]))
        ],
    }
    (tmp_path / "val.json").write_text(json.dumps(coco))
    return read_coco(tmp_path / "val.json")


def found(boxes, labels):
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, np.int64))


NOTHING = found([], [])
CAT, DOG = [40, 30, 90, 85], [10, 20, 35, 50]


def told(dataset, detections, progress=LATE):
    assert coco_metrics(dataset, detections).metrics.AP == 0
    return diagnose(dataset, detections, 0.01, lambda: 0.0042, progress)


def test_no_score_reaches_the_threshold(dataset):
    text = told(dataset, {0: NOTHING, 1: NOTHING, 2: NOTHING})
    assert text.startswith("AP is 0: no detection reaches eval.score_threshold 0.01; the highest score is 0.0042")
    assert "too early" not in text


def test_in_the_warm_up_it_is_too_early(dataset):
    text = told(dataset, {0: NOTHING}, Progress(step=64, warmup_steps=64))
    assert text.endswith("the warm-up ends at step 64 and this was step 64: it may be too early")


def test_detections_beside_the_boxes(dataset):
    text = told(dataset, {0: found([[70, 0, 99, 25]], [0]), 1: found([[38, 28, 60, 60]], [0])})
    assert "none overlaps a box by 0.5 (best IoU 0.2" in text


def test_detections_of_the_other_class(dataset):
    text = told(dataset, {0: found([CAT], [1]), 1: found([CAT, DOG], [1, 0])})
    assert "of another class, most often dog on what is annotated as cat (2 of 3)" in text
    assert "(4 cat, 9 dog)" in text
    assert "IoU up to 1.00" in text


def test_detections_in_the_images_without_annotations_alone(dataset):
    text = told(dataset, {0: NOTHING, 2: found([CAT], [0])})
    assert "the 1 images with detections and the 2 with annotations are not the same ones" in text
    assert "image_id" in text


def test_annotations_written_as_corners(dataset):
    text = told(dataset, {0: found([[40, 30, 50, 55]], [0]), 1: found([[10, 20, 25, 30]], [1])})
    assert "by 1.00 if bbox is read as [x1, y1, x2, y2]" in text


def test_a_box_that_is_found_behind_many_false_ones(dataset):
    """AP itself may be above 0 here; the diagnosis says what it sees."""
    text = diagnose(dataset, {0: found([CAT], [0])}, 0.01, lambda: 0.0, LATE)
    assert "1 boxes are found (IoU up to 1.00, right class)" in text
