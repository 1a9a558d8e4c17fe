"""Annotations and images that are wrong, given to the verbs that read them: each is refused with one message."""

import json
import shutil
from pathlib import Path

import pytest
from command_lines import evaluation, training, with_data


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_annotations_and_folders_that_are_not_there(refused, data, checkpoint, verb):
    refused(3, *with_data(verb, checkpoint, "data/gone.json", "data/images"), says=("data/gone.json",))
    refused(3, *with_data(verb, checkpoint, "data", "data/images"), says=("data: cannot be read",))
    refused(3, *with_data(verb, checkpoint, "data/val.json", "data/gone"), says=("data/gone: no such folder",))
    refused(3, *with_data(verb, checkpoint, "shapes:test", "data"), says=("shapes:val",))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("{", "not readable as JSON"),
        ('{"images": [3], "categories": [{"id": 1, "name": "a"}]}', "images[0] is not an object but 3"),
        ("[]", "an object at the top, this one has a list"),
        ('{"a": 1}', "no list named 'categories' (found: a)"),
        ('{"images": [], "annotations": [], "categories": []}', "'categories' is empty"),
        ("\udcff\udcfe", "not readable as JSON"),
    ],
)
def test_files_that_are_no_coco(refused, data, checkpoint, verb, content, says):
    Path("data/odd.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(3, *with_data(verb, checkpoint, "data/odd.json", "data/images"), says=("data/odd.json: ", says))


@pytest.mark.slow
def test_a_panoptic_file_is_told_what_is_wanted(refused, data, checkpoint):
    segments = [{"id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}]
    coco = json.loads(Path("data/val.json").read_text())
    coco["annotations"] = [{"image_id": 1, "file_name": "1.png", "segments_info": segments}]
    Path("data/odd.json").write_text(json.dumps(coco))
    for verb in ("train", "evaluate"):
        arguments = with_data(verb, checkpoint, "data/odd.json", "data/images")
        refused(3, *arguments, says=("data/odd.json", "panoptic", "Give instances_*.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("image_id", 99, "image_id 99 is not an image of the file"),
        ("category_id", 99, "category_id 99 is not a category of the file"),
        ("bbox", [1, 2, 3], "bbox is [1, 2, 3]"),
        ("bbox", [1, 2, float("nan"), 4], "bbox is [1, 2, nan, 4]"),
    ],
)
def test_annotations_that_cannot_be(refused, data, checkpoint, field, value, says):
    coco = json.loads(Path("data/val.json").read_text())
    coco["annotations"][1][field] = value
    Path("data/odd.json").write_text(json.dumps(coco))
    for verb in ("train", "evaluate"):
        arguments = with_data(verb, checkpoint, "data/odd.json", "data/images")
        refused(3, *arguments, says=("data/odd.json: annotation 1: ", says))


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_missing_images(refused, data, checkpoint, verb):
    for number in (3, 5):
        Path(f"data/images/val{number}.png").unlink()
    arguments = with_data(verb, checkpoint, "data/val.json", "data/images")
    refused(3, *arguments, says=("2 of its 7 images are missing", "data/images/val3.png"))


@pytest.mark.slow
def test_an_image_that_is_none(refused, data, checkpoint):
    Path("data/images/val3.png").write_text("<html>not found</html>")
    says = ("data/images/val3.png: not an image (it begins with b'<html>not fo')",)
    refused(3, *evaluation(checkpoint), says=says)
    refused(3, "predict", checkpoint, "data/images/val3.png", "-o", "out", says=says)


def test_an_image_of_another_size(refused, data, checkpoint):
    shutil.copy("data/images/val3.png", "data/images/val4.png")
    coco = json.loads(Path("data/val.json").read_text())
    coco["images"][3]["width"] = 100
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *evaluation(checkpoint), says=("val3.png: the image is 64 × 64", "says 100 × 64"))


@pytest.mark.slow
def test_data_of_other_classes(refused, data, checkpoint):
    coco = json.loads(Path("data/val.json").read_text())
    coco["categories"][0]["name"] = "dark"
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *training(), says=("data/val.json: its classes dark, bright", "data/train.json: dim, bright"))
    coco["categories"][1]["name"] = "light"
    Path("data/val.json").write_text(json.dumps(coco))
    refused(3, *evaluation(checkpoint), says=("(dim, bright)", "(dark, light)", "no name in common"))
