"""An empty bucket behind a real S3 interface, for what is written to it."""

import tempfile
from collections.abc import Iterator

import pytest
from object_store import Door, make_bucket, moto_store, point_to

from rayox_platform.data import retry
from rayox_platform.data.bucket import Bucket


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    with moto_store() as address:
        yield address


@pytest.fixture
def bucket_door(bucket_server, monkeypatch, tmp_path) -> Iterator[Door]:
    """What rayox goes through to an empty store; waits are short here, and this machine has no cache yet."""
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    make_bucket(bucket_server)
    door = Door(bucket_server)
    point_to(monkeypatch, door.address)
    yield door
    door.close()
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def bucket(bucket_door) -> Bucket:
    return Bucket("s3", "bucket/runs/mine")
