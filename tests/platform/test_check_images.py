"""Checking images against their annotations, and two splits against each other."""

import cv2
import numpy as np
import pytest
from checked import check, codes, written
from spoiled_coco import HEIGHT, NUM_IMAGES, WIDTH, clean_coco, write_images

from rayox_model.core.errors import DataError
from rayox_platform.data.check.checker import Against, CheckSettings
from rayox_platform.data.check.files import ImageFolder, look_with_threads


def test_images_are_looked_at(tmp_path, pictures):
    folder = tmp_path / "images"
    write_images(folder)
    (folder / "0.png").write_bytes(b"<html>not found</html>")
    (folder / "1.png").write_bytes((folder / "2.png").read_bytes())
    cv2.imwrite(str(folder / "3.png"), np.full((2, 64, 3), 9, np.uint8))
    (folder / "4.png").write_bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 9, np.uint8))[1].tobytes())
    cut = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(cut[: len(cut) // 2])
    path = written(tmp_path / "a.json", clean_coco())
    found = {finding.code: finding for finding in check(path, CheckSettings(folder=ImageFolder(str(folder))))}
    assert found.keys() == {
        "unreadable-image",
        "duplicate-image",
        "odd-image",
        "image-size-differs",
        "box-outside-image",  # of the image that is 2 px high
        "wrong-extension",
    }
    assert found["unreadable-image"].where == "images[0] (0.png); images[5] (5.png)"
    assert found["duplicate-image"].where == "images[2] (2.png)"
    assert "annotated 64 × 48, the file is 64 × 2" in found["image-size-differs"].detail
    quick = check(path, CheckSettings(folder=ImageFolder(str(folder)), depth="header"))
    assert "duplicate-image" not in codes(quick)
    assert "image-size-differs" in codes(quick)


def test_a_turned_photo_annotated_as_stored(tmp_path, shared_data):
    coco = clean_coco()
    folder = tmp_path / "images"
    write_images(folder)
    (folder / "5.png").write_bytes((shared_data / "edge" / "images" / "coco_exif6.jpg").read_bytes())
    coco["images"][5] |= {"height": 120, "width": 160}  # shown it is 160 high
    path, check_settings = written(tmp_path / "a.json", coco), CheckSettings(folder=ImageFolder(str(folder)))
    assert codes(check(path, check_settings)) == {"rotated-image", "wrong-extension"}
    coco["images"][5] |= {"height": 160, "width": 120}
    assert codes(check(written(path, coco), check_settings)) == {"wrong-extension"}


def test_every_odd_image_is_looked_at_without_an_internal_error(shared_data):
    folder = shared_data / "edge" / "images"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("huge"))
    facts = look_with_threads(ImageFolder(str(folder)), names, "decode")
    broken = {name for name, fact in zip(names, facts, strict=True) if fact.broken}
    assert {"zero_bytes.jpg", "text.jpg", "html.jpg", "truncated_image.png", "coco_truncated_half.jpg"} <= broken
    assert not {"progressive.jpg", "cmyk_coco.jpg", "rgb16.png", "hopper.webp", "png_named.jpg"} & broken


def test_a_folder_of_nothing_but_broken_images(tmp_path):
    for number in range(NUM_IMAGES):
        (tmp_path / f"{number}.png").write_bytes(b"denied")
    found = check(written(tmp_path / "a.json", clean_coco()), CheckSettings(folder=ImageFolder(str(tmp_path))))
    assert [(finding.code, finding.count) for finding in found] == [
        ("no-readable-image", NUM_IMAGES),
        ("unreadable-image", NUM_IMAGES),
        ("duplicate-image", NUM_IMAGES - 1),
    ]


def test_no_folder_of_images(tmp_path):
    path = written(tmp_path / "a.json", clean_coco())
    assert codes(check(path, CheckSettings(folder=ImageFolder(str(tmp_path / "gone"))))) == {"no-image-folder"}


def test_odd_file_names_are_said_so_that_a_terminal_does_nothing(tmp_path, check_settings):
    coco = clean_coco()
    names = ("\x1b[31mred.png", "two\nlines.png", "\ud800.png", "n" * 300 + ".png", "naïve 図.png")
    for record, name in zip(coco["images"], names, strict=False):
        record["file_name"] = name
    found = check(written(tmp_path / "a.json", coco), check_settings)
    assert "missing-image-file" in codes(found)
    text = " ".join(finding.where + finding.detail for finding in found)
    assert text.isprintable()
    text.encode()


def test_a_folder_in_place_of_an_image_is_no_image(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "images" / "0.png").unlink()
    (tmp_path / "images" / "0.png").mkdir()
    check_settings = CheckSettings(folder=ImageFolder(str(tmp_path / "images")))
    assert codes(check(written(tmp_path / "a.json", clean_coco()), check_settings)) == {"missing-image-file"}


def test_a_folder_by_address(tmp_path, pictures):
    path = written(tmp_path / "a.json", clean_coco())
    assert check(path, CheckSettings(folder=ImageFolder(f"file://{pictures}"))) == []
    assert codes(check(path, CheckSettings(folder=ImageFolder(f"file://{pictures}/gone")))) == {"no-image-folder"}
    coco = clean_coco()
    coco["images"][5]["file_name"] = "gone.png"
    found = check(written(path, coco), CheckSettings(folder=ImageFolder(f"file://{pictures}")))
    assert codes(found) == {"missing-image-file"}


def test_leaks_between_splits(tmp_path, pictures, check_settings):
    other = tmp_path / "other"
    other.mkdir()
    rng = np.random.default_rng(1)
    for number in range(NUM_IMAGES):
        cv2.imwrite(str(other / f"{number}.png"), rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    train, val = (written(tmp_path / name, clean_coco()) for name in ("train.json", "val.json"))
    folder = ImageFolder(str(other))
    assert check(train, check_settings, Against(val, folder)) == []  # the same names, other contents
    (other / "9.png").write_bytes((pictures / "3.png").read_bytes())
    (found,) = check(train, check_settings, Against(val, folder))
    assert (found.code, found.where, found.severity) == ("leaked-image", "images[3] (3.png)", "error")
    assert "images[9] (9.png)" in found.detail
    (found,) = check(train, check_settings, Against(train, check_settings.folder))
    assert (found.code, found.count) == ("leaked-image", NUM_IMAGES)
    (found,) = check(train, CheckSettings(), Against(val, None))
    assert (found.code, found.count) == ("shared-file-name", NUM_IMAGES)


def test_splits_with_other_classes(tmp_path):
    coco = clean_coco()
    coco["categories"][1]["name"] = "c"
    for number, record in enumerate(coco["images"]):
        record["file_name"] = f"other{number}.png"
    train, val = written(tmp_path / "train.json", clean_coco()), written(tmp_path / "val.json", coco)
    (found,) = check(train, CheckSettings(), Against(val, None))
    assert (found.code, found.detail) == ("classes-differ", "only here: b; only there: c")
    with pytest.raises(DataError, match="truncated-json"):
        check(train, CheckSettings(), Against(written(val, b'{"images": [{"file_na'), None))
