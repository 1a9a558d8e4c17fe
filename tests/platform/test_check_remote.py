"""Images in an object store are looked at as those in a folder are."""

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data.check.checker import CheckSettings, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_threads


@pytest.mark.slow
@pytest.mark.stores
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


def test_a_bucket_that_may_not_be_read(bucket_door):
    bucket_door.refused, bucket_door.status = lambda method, path: True, 403
    with pytest.raises(DataError, match=r"s3://bucket/images: cannot be read .*ACCESS_DENIED") as caught:
        ImageFolder("s3://bucket/images").exists()
    assert "credentials" in caught.value.hint
