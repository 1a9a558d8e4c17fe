"""What is wrong with a store is told apart: away, no bucket, no key, an unknown or a wrong one, no right, no driver."""

import json
import urllib.request
from collections.abc import Iterator

import boto3
import pytest
from object_store import make_bucket, moto_store, point_to, store

from rayox_model.core.errors import ConfigError, DataError, ModelError, TrackingError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.source import folder_source
from rayox_platform.models.open_model import read_weights
from rayox_platform.runs.places import open_runs
from rayox_platform.storage import retry
from rayox_platform.track.tracking import check_store, connect

Keys = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[str, Keys]]:
    """A store that checks who asks: its address, and the keys of one who may all and of one who may nothing."""
    with moto_store() as address:
        make_bucket(address)
        with store(address).open_output_stream("bucket/coco/val.json") as file:
            file.write(b"{}")
        iam = boto3.client(
            "iam",
            endpoint_url=f"http://{address}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        keys = {}
        for name in ("all", "nothing"):
            iam.create_user(UserName=name)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            keys[name] = {
                "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            }
        allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName="all", PolicyName="all", PolicyDocument=policy)
        check(address, "0")
        yield address, keys
        check(address, "inf")


def check(address: str, after: str) -> None:
    """Let the store check requests from the so many-th on."""
    request = urllib.request.Request(
        f"http://{address}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(request).close()


WRONG = {
    "away": ({}, "bucket", "NETWORK_CONNECTION", "the store does not answer"),
    "no bucket": ({}, "bukket", "no such bucket", "make the bucket first, or name another one"),
    "no key": (None, "bucket", "CREDENTIALS: this environment has none", "set AWS_ACCESS_KEY_ID"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "AKIAX"}, "bucket", "INVALID_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID) is unknown"),
    "wrong key": ({"AWS_SECRET_ACCESS_KEY": "x"}, "bucket", "SIGNATURE", "(AWS_SECRET_ACCESS_KEY) does not fit"),
    "no right": ("nothing", "bucket", "ACCESS_DENIED", "the right to read, write, list"),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_is_said_for_data_images_storage_and_a_model(guarded, monkeypatch, tmp_path, what):
    address, keys = guarded
    variables, bucket, said, hint = WRONG[what]
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
    point_to(monkeypatch, "127.0.0.1:1" if what == "away" else address)
    given = keys["nothing"] if variables == "nothing" else keys["all"] | (variables or {})
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if variables is None:
        for name in given:
            monkeypatch.delenv(name)
    tries = (
        (DataError, lambda: read_coco(f"s3://{bucket}/coco/val.json")),
        (DataError, lambda: folder_source(["a.png"], f"s3://{bucket}/images", "val.json")),
        (ConfigError, lambda: open_runs(f"s3://{bucket}/runs")),
        (ModelError, lambda: read_weights(f"s3://{bucket}/runs/mine/checkpoints/step-00000001-1")),
    )
    for kind, call in tries:
        with pytest.raises(kind) as caught:
            call()
        assert said in caught.value.message, (what, kind, caught.value.message)
        assert hint in caught.value.hint, (what, kind, caught.value.hint)


@pytest.mark.parametrize("address", ["mysql://bob:hunter2@host/db", "mssql+pyodbc://bob:hunter2@host/db"])
def test_a_database_without_its_driver_is_said_with_the_package(tmp_path, address):
    for call in (lambda: connect(address, tmp_path, "rayox"), lambda: check_store(address, tmp_path)):
        with pytest.raises(TrackingError, match="needs the Python module") as caught:
            call()
        assert caught.value.hint.startswith("pip install ")
        assert "hunter2" not in caught.value.message


def test_a_dry_run_asks_the_tracking_store_as_a_start_would(tmp_path):
    with pytest.raises(TrackingError, match=r"cannot keep runs at http://127\.0\.0\.1:1"):
        check_store("http://127.0.0.1:1", tmp_path)
    check_store(None, tmp_path / "not made yet")
    check_store(f"sqlite:///{tmp_path}/new.db", tmp_path)
    assert not list(tmp_path.iterdir())
