"""The embedded data set's difficulty is a contract: recipes are tuned, never the data. Measured here."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from rayox_platform.data import shapes
from rayox_platform.data.outlines import OUTLINES, draw_mask
from rayox_platform.data.resolve import resolve_split
from rayox_platform.data.scene import paint_scene
from rayox_platform.data.shapes import CATEGORY_IDS, SPLITS, shapes_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state with a space")
    shapes_folder(state)
    return state


@pytest.fixture(scope="module", params=sorted(SPLITS))
def split(request: pytest.FixtureRequest, state: Path) -> tuple[str, dict, Path]:
    folder = shapes_folder(state)
    coco = json.loads((folder / "annotations" / f"{request.param}.json").read_text())
    return request.param, coco, folder / request.param


def single_objects(coco: dict) -> list[dict]:
    return [annotation for annotation in coco["annotations"] if not annotation["iscrowd"]]


def test_counts_sizes_and_aspects_of_the_images(split):
    name, coco, folder = split
    assert len(coco["images"]) == SPLITS[name] == len(list(folder.iterdir()))
    longer = np.array([max(image["height"], image["width"]) for image in coco["images"]])
    assert longer.min() >= 300
    assert longer.max() <= 360
    aspects = np.array([image["width"] / image["height"] for image in coco["images"]])
    assert (aspects < 0.8).mean() > 0.1
    assert (aspects > 1.25).mean() > 0.1
    first = coco["images"][0]
    assert cv2.imread(str(folder / first["file_name"])).shape == (first["height"], first["width"], 3)


def test_sizes_are_log_uniform_from_12_to_180_pixels(split):
    sides = np.array([max(annotation["bbox"][2:]) for annotation in single_objects(split[1])])
    assert sides.min() >= 12
    assert sides.max() <= 180
    share_below = np.log(np.sort(sides) / 12) / np.log(180 / 12)
    assert np.abs(share_below - np.linspace(0, 1, len(sides))).max() < 0.06  # distance of the distributions


def test_a_quarter_is_hidden_by_8_to_40_percent(split):
    hidden = np.array([annotation["occlusion"] for annotation in single_objects(split[1])])
    assert 0.22 < (hidden > 0).mean() < 0.29
    assert hidden.max() <= 0.4
    assert hidden[hidden > 0].min() >= 0.07
    assert np.median(hidden[hidden > 0]) > 0.12


def test_five_percent_are_empty_and_the_others_hold_1_to_12(split):
    _, coco, _ = split
    counts = Counter(annotation["image_id"] for annotation in single_objects(coco))
    assert len(coco["images"]) - len(counts) == 25
    assert set(counts.values()) == set(range(1, 13))
    assert 4 < np.mean(list(counts.values())) < 6


def test_classes_are_balanced_and_their_ids_have_gaps(split):
    _, coco, _ = split
    counts = Counter(annotation["category_id"] for annotation in single_objects(coco))
    assert set(counts) == set(CATEGORY_IDS.values())
    assert max(CATEGORY_IDS.values()) > len(CATEGORY_IDS) == 8
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_hue_alone_tells_less_than_three_classes_in_four(split):
    """The best guess from an object's mean hue, learnt on half of the objects and tried on the other half."""
    _, coco, folder = split
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    hues, labels = [], []
    for annotation in single_objects(coco):
        x, y, width, height = annotation["bbox"]
        image = cv2.imread(str(folder / names[annotation["image_id"]]))
        middle = image[y + height // 3 : y + height - height // 3, x + width // 3 : x + width - width // 3]
        hues.append(cv2.cvtColor(middle.mean(axis=(0, 1)).astype(np.uint8)[None, None], cv2.COLOR_BGR2HSV)[0, 0, 0])
        labels.append(annotation["category_id"])
    hue, label = np.array(hues) // 6, np.array(labels)
    learnt = {bin_: np.bincount(label[::2][hue[::2] == bin_]).argmax() for bin_ in np.unique(hue[::2])}
    right = np.mean([learnt.get(bin_, -1) == truth for bin_, truth in zip(hue[1::2], label[1::2], strict=True)])
    assert 0.3 < right < 0.75


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
def test_pycocotools_reads_the_crowds(split, state):
    name, coco, _ = split
    reader = COCO(shapes_folder(state) / "annotations" / f"{name}.json")
    crowds = [annotation for annotation in coco["annotations"] if annotation["iscrowd"]]
    assert len(crowds) > 10
    for crowd in crowds:
        mask = reader.annToMask(crowd)
        assert mask.sum() == crowd["area"]
        assert coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask))).tolist() == crowd["bbox"]


def test_a_scene_is_the_same_every_time_and_differs_from_the_next():
    first, again, other = (paint_scene(np.random.Generator(np.random.Philox(key=k)), empty=False) for k in (1, 1, 2))
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_files_are_the_same_bytes_when_rendered_again(tmp_path, monkeypatch, state):
    monkeypatch.setattr(shapes, "SPLITS", {"train": 6, "val": 4})
    shapes.render_shapes(tmp_path / "again")
    for split in ("train", "val"):
        for path in sorted((tmp_path / "again" / split).iterdir()):
            assert path.read_bytes() == (shapes_folder(state) / split / path.name).read_bytes()


def test_the_annotations_are_the_published_ones(split, state):
    """Whoever moves these digests changes the data set: raise VERSION, and no result before compares any more."""
    published = {"train": "7c74ea9685625efd", "val": "e023167f63778fae"}
    content = (shapes_folder(state) / "annotations" / f"{split[0]}.json").read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(published[split[0]])


def test_validation_shares_no_image_with_training(state):
    folder = shapes_folder(state)
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in folder.glob("*/*.jpg")]
    assert len(set(digests)) == len(digests) == sum(SPLITS.values())


def test_an_empty_scene_has_clutter_but_no_object():
    scene = paint_scene(np.random.Generator(np.random.Philox(key=3)), empty=True)
    assert scene.objects == []


@pytest.mark.parametrize("name", OUTLINES)
def test_boxes_are_tight(name):
    for size in (12.0, 40.0, 180.0):
        mask = draw_mask(OUTLINES[name](), angle=0.7, stretch=0.9, size=size)
        assert max(mask.shape) == size
        solid = mask >= 128
        assert (np.array([solid.any(axis=0).sum(), solid.any(axis=1).sum()]) >= np.array(mask.shape[::-1]) - 2).all()


def test_an_interrupted_rendering_leaves_nothing_behind(tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shapes_folder(tmp_path, progress=stop)
    assert os.listdir(tmp_path / "cache") == []


def test_the_loser_of_a_race_takes_the_winner_s_folder(tmp_path, monkeypatch):
    winner = tmp_path / "cache" / f"shapes-v{shapes.VERSION}"

    def render_while_another_finishes(folder: Path, progress: object) -> None:
        winner.mkdir()
        (winner / "kept").touch()
        (folder / "mine").touch()

    monkeypatch.setattr(shapes, "render_shapes", render_while_another_finishes)
    assert shapes_folder(tmp_path) == winner
    assert os.listdir(winner) == ["kept"]
    assert os.listdir(winner.parent) == [winner.name]


def test_every_image_has_its_annotated_size_and_trains_without_crowds(state):
    dataset, images = resolve_split("shapes:val", None, state)
    assert dataset.classes == tuple(OUTLINES)
    assert not dataset.notes
    for index in range(0, len(images), 25):
        sample = images.load(index)
        assert sample.image.shape[:2] == images.size(index)
    assert dataset.trainable.sum() + dataset.iscrowd.sum() == len(dataset.labels)
