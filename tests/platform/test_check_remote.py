"""Images in an object store are looked at as those in a folder are."""

import boto3
import pytest
from moto.server import ThreadedMotoServer

from rayox_platform.data.check.checker import CheckSettings, check_file
from rayox_platform.data.check.files import ImageFolder, look_with_threads


@pytest.fixture
def bucket(monkeypatch):
    """A bucket, and its address as pyarrow takes it."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="photos")
    yield client, f"s3://photos/train?scheme=http&endpoint_override={host}%3A{port}"
    client.close()
    server.stop()


def test_images_in_a_bucket(bucket, toy_data):
    client, address = bucket
    for path in (toy_data / "images").glob("train*.png"):
        client.upload_file(str(path), "photos", f"train/{path.name}")
    settings = CheckSettings(folder=ImageFolder(address))
    found, _ = check_file(toy_data / "train.json", settings, look_with_threads)
    assert [finding.code for finding in found] == ["zero-annotation-id"]
    client.delete_object(Bucket="photos", Key="train/train3.png")
    client.put_object(Bucket="photos", Key="train/train4.png", Body=b"none")
    found, _ = check_file(toy_data / "train.json", settings, look_with_threads)
    assert {finding.code: finding.where for finding in found} == {
        "missing-image-file": "images[3] (train3.png)",
        "unreadable-image": "images[4] (train4.png)",
        "zero-annotation-id": "annotations[0]",
    }
