"""`rayox predict`: boxes in the image's own pixels, ids as COCO's, and one bad image stops no other."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from decoded_onnx import decode_inside
from PIL import Image
from white_box import paint, results

from rayox_model.core.coco_classes import COCO_CLASSES, COCO_IDS
from rayox_model.core.samples import Detections
from rayox_platform.data.images import read_image
from rayox_platform.evaluate import prediction
from rayox_platform.evaluate.results import category_ids

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_a_file_with_decoded_boxes_finds_the_same_and_one_in_fractions_is_refused(rayox, toy_onnx):
    """A file of another trainer through the whole command; numbers that cannot be are never written."""
    paint(Path("in/a.png"))
    cv2.imwrite("in/b.png", np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    words = ("in", "--score-threshold", "0.0001", "--json", "-o")
    assert rayox("predict", toy_onnx, *words, "raw").exit_code == 0
    decode_inside(toy_onnx, Path("decoded.onnx"), (64, 96))
    assert rayox("predict", "decoded.onnx", *words, "decoded").exit_code == 0
    assert len(results(Path("raw"))) > 0
    for one, other in zip(results(Path("raw")), results(Path("decoded")), strict=True):
        assert (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])
        np.testing.assert_allclose(other["bbox"], one["bbox"], atol=0.02)
    decode_inside(toy_onnx, Path("fractions.onnx"), (64, 96), "fractions")
    said = rayox("predict", "fractions.onnx", *words, "fractions")
    assert said.exit_code == 4
    assert "neither YOLOX's regression nor pixels" in said.err
    assert not Path("fractions/results.json").exists()


def test_boxes_are_in_the_images_own_pixels(rayox, detector):
    paint(Path("in/b.png"), 128, 192)
    paint(Path("in/a.png"), 64, 96)
    cv2.imwrite("in/c.png", np.zeros((64, 96, 3), np.uint8))
    said = rayox("predict", "any", "in", "-o", "out", "--json")
    assert said.exit_code == 0
    same = {"category_id": 2, "bbox": [20.0, 12.0, 40.0, 28.0], "score": 0.9, "category": "square"}
    assert results(Path("out")) == [
        {"image_id": 1, "file_name": "a.png", **same},
        {"image_id": 2, "file_name": "b.png", **same},
    ]
    result = said.result
    assert result.pop("images_per_second") > 0
    assert result == {
        "images": 3,
        "detections": 2,
        "results": "out/results.json",
        "folder": "out",
        "failed": 0,
        "failures": [],
    }
    assert said.out.count("\n") == 1


def test_boxes_are_drawn(rayox, detector):
    paint(Path("in/a.png"), 128, 192)
    assert rayox("predict", "any", "in", "-o", "out").exit_code == 0
    drawn = read_image("out/images/a.jpg")
    assert drawn.shape == (128, 192, 3)
    left_edge = drawn[30:38, 19:21].astype(int)  # painted grey: any colour there is the box's
    assert np.ptp(left_edge, axis=2).max() > 60
    assert np.ptp(drawn[60:120, 70:180].astype(int), axis=2).max() < 20


def test_pictures_too_large_to_keep_are_drawn_the_same(rayox, detector, monkeypatch):
    paint(Path("in/a.png"), 128, 192)
    rayox("predict", "any", "in", "-o", "kept")
    monkeypatch.setattr(prediction, "_KEPT_BYTES", 0)
    rayox("predict", "any", "in", "-o", "again")
    assert Path("kept/images/a.jpg").read_bytes() == Path("again/images/a.jpg").read_bytes()


def test_what_jpeg_cannot_hold_is_drawn_smaller(rayox, detector):
    cv2.imwrite("long.png", np.zeros((4, 70_000, 3), np.uint8))
    assert rayox("predict", "any", "long.png", "-o", "out").exit_code == 0
    assert read_image("out/images/long.jpg").shape == (3, 65_500, 3)


def test_no_detection_is_an_empty_list(rayox, detector):
    cv2.imwrite("c.png", np.zeros((64, 96, 3), np.uint8))
    assert rayox("predict", "any", "c.png", "-o", "out").exit_code == 0
    assert results(Path("out")) == []
    assert Path("out/images/c.jpg").is_file()


def test_category_ids():
    assert category_ids(("a", "b")) == (1, 2)
    known = dict(zip(COCO_CLASSES, category_ids(COCO_CLASSES), strict=True))
    assert [known[name] for name in ("person", "stop sign", "umbrella", "tv", "toothbrush")] == [1, 13, 28, 72, 90]
    assert category_ids(COCO_CLASSES[:79]) == tuple(range(1, 80))


def test_photos_are_turned_as_viewers_show_them(rayox, detector):
    upright = Image.fromarray(read_image(paint(Path("upright.png"), 64, 96)))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    upright.transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=exif)
    assert read_image("turned.png").shape == (64, 96, 3)
    assert rayox("predict", "any", "turned.png", "-o", "out").exit_code == 0
    assert results(Path("out"))[0]["bbox"] == [20.0, 12.0, 40.0, 28.0]
    assert read_image("out/images/turned.jpg").shape == (64, 96, 3)


def test_a_broken_image_among_others_is_skipped(rayox, detector):
    for name in ("a.png", "c.png", "e.png"):
        paint(Path("in", name))
    Path("in/b.png").write_bytes(b"no image")
    Path("in/d.png").write_bytes(b"")
    said = rayox("predict", "any", "in", "-o", "out", "eval.batch_size=2", "--json")
    assert said.exit_code == 3
    assert [record["image_id"] for record in results(Path("out"))] == [1, 3, 5]
    assert {path.name for path in Path("out/images").iterdir()} == {"a.jpg", "c.jpg", "e.jpg"}
    assert [line for line in said.err.splitlines() if "skipped" in line] == [
        "skipped: in/b.png: not an image (it begins with b'no image')",
        "skipped: in/d.png: the file is empty",
    ]
    result = said.result
    assert (result["images"], result["failed"], len(result["failures"])) == (3, 2, 2)
    assert result["error"]["code"] == "data"
    assert "2 of 5 images" in result["error"]["message"]
    assert said.err.count("error:") == 1


def test_a_single_broken_image_leaves_nothing(rayox, detector):
    Path("b.png").write_bytes(b"no image")
    said = rayox("predict", "any", "b.png", "-o", "out", "--json")
    assert said.exit_code == 3
    assert said.result["error"]["message"].startswith("b.png: not an image")
    assert not Path("out").exists()


def test_batches_never_pile_up(rayox, detector, monkeypatch):
    """When a batch is detected, no more than the next one has been read."""
    reads: list[Path] = []
    reads_at_batch: list[int] = []

    def read(path: Path) -> np.ndarray:
        reads.append(path)
        return read_image(path)

    detect = detector.detect

    def watched(*arguments) -> list[Detections]:
        reads_at_batch.append(len(reads))
        return detect(*arguments)

    monkeypatch.setattr(prediction, "read_image", read)
    monkeypatch.setattr(detector, "detect", watched)
    for number in range(18):
        paint(Path(f"in/{number:02}.png"))
    assert rayox("predict", "any", "in", "-o", "out", "eval.batch_size=4").exit_code == 0
    assert detector.batches == [4, 4, 4, 4, 2]
    assert all(count <= 4 * (number + 2) for number, count in enumerate(reads_at_batch))
    assert len(reads) == 18


def test_an_interrupted_run_has_no_results(rayox, detector, monkeypatch):
    for number in range(4):
        paint(Path(f"in/{number}.png"))
    assert rayox("predict", "any", "in", "-o", "out").exit_code == 0
    detect = detector.detect

    def stop_later(*arguments) -> list[Detections]:
        if len(detector.batches) == 2:
            raise KeyboardInterrupt
        return detect(*arguments)

    monkeypatch.setattr(detector, "detect", stop_later)
    assert rayox("predict", "any", "in", "-o", "out", "eval.batch_size=1").exit_code == 130
    assert [path.name for path in Path("out").iterdir()] == ["images"]


def test_thresholds(rayox, detector):
    paint(Path("a.png"))
    rayox("predict", "any", "a.png", "-o", "out")
    rayox("predict", "any", "a.png", "-o", "out", "eval.score_threshold=0.1", "eval.nms_threshold=0.4")
    rayox("predict", "any", "a.png", "-o", "out", "--score-threshold", "0.7", "eval.score_threshold=0.1")
    assert detector.thresholds == [(0.25, 0.65), (0.1, 0.4), (0.7, 0.65)]


def test_drawings_never_go_onto_the_images(rayox, detector):
    before = paint(Path("data/images/a.jpg")).read_bytes()
    said = rayox("predict", "any", "data/images", "-o", "data")
    assert said.exit_code == 3
    assert "name another folder by -o" in said.err
    assert Path("data/images/a.jpg").read_bytes() == before


def test_outputs_that_cannot_be(rayox, detector):
    paint(Path("a.png"))
    Path("file").write_text("")
    for output in ("file", "file/under"):
        said = rayox("predict", "any", "a.png", "-o", output, "--json")
        assert said.exit_code == 2
        assert "file" in said.result["error"]["message"]
    assert "usage" in rayox("predict", "any", "a.png", "--json").result["error"]["code"]


@pytest.mark.slow
def test_classes_are_named_by_a_file(rayox, nameless_pth, toy_data):
    named = f"data.val.annotations={toy_data / 'val.json'}"
    photo = toy_data / "images" / "val1.png"
    arguments = ("predict", nameless_pth, photo, "-o", "out", "image_size=64", "--score-threshold", "0", named)
    assert rayox(*arguments).exit_code == 0
    named_so = {one["category"] for one in results(Path("out"))}
    assert named_so
    assert named_so <= {"dim", "bright"}


@pytest.mark.slow
def test_real_weights_find_what_the_oracle_found(rayox, shared_data):
    """The published ids, and the detections of the official code, for five photos."""
    oracle = json.loads((shared_data / "oracle" / "yolox_nano_coco_dev_val_dets.json").read_text())
    photos = sorted((shared_data / "coco_dev" / "val2017").glob("*.jpg"))[:5]
    Path("in").mkdir()
    for photo in photos:
        Path("in", photo.name).symlink_to(photo)
    weights = shared_data / "weights" / "yolox_nano_bncal.pth"
    assert rayox("predict", weights, "in", "-o", "out", "--score-threshold", "0.01").exit_code == 0
    found = sorted(results(Path("out")), key=_place)
    wanted = sorted((one for one in oracle if one["image_id"] in {int(photo.stem) for photo in photos}), key=_place)
    assert len(found) == len(wanted) > 50
    assert {one["category_id"] for one in found} <= set(COCO_IDS)
    np.testing.assert_allclose([one["bbox"] for one in found], [one["bbox"] for one in wanted], atol=0.1)


def _place(record: dict) -> tuple:
    return record["image_id"], record["category_id"], -round(record["score"], 4), record["bbox"]
