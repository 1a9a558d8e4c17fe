"""Images in an object store are looked at as those in a folder are."""

import pytest

from rayox_platform.data.check.checker import CheckSettings, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_threads

pytestmark = pytest.mark.stores


def test_images_in_a_bucket(bucket, toy_data):
    assert not ImageFolder(str(bucket)).exists()
    for path in (toy_data / "images").glob("train*.png"):
        bucket.put(path, path.name)
    assert ImageFolder(str(bucket)).exists()
    settings = CheckSettings(folder=ImageFolder(str(bucket)))
    found, _ = check_file(toy_data / "train.json", settings, look_with_threads)
    assert [finding.code for finding in found] == ["zero-annotation-id"]
    bucket.remove("train3.png")
    bucket.write("train4.png", b"none")
    for depth in ("header", "decode"):
        settings = CheckSettings(folder=ImageFolder(str(bucket)), depth=depth)
        found, _ = check_file(toy_data / "train.json", settings, look_with_threads)
        assert {finding.code: finding.where for finding in found} == {
            "missing-image-file": "images[3] (train3.png)",
            "unreadable-image": "images[4] (train4.png)",
            "zero-annotation-id": "annotations[0]",
        }
