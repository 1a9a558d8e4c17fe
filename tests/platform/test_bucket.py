"""A bucket does what a folder does, on S3 and on Google's store."""

import os
import time

import pytest

from rayox_platform.storage.bucket import Bucket

pytestmark = pytest.mark.stores

LARGE = os.urandom(20 << 20)  # several parts of an upload


@pytest.mark.slow
def test_what_is_written_is_read(bucket, tmp_path):
    assert bucket.bucket_is_there
    assert not bucket.exists()
    bucket.write("a/b.txt", b"hello")
    assert bucket.exists()
    assert bucket.read("a/b.txt") == b"hello"
    assert bucket.read_range("a/b.txt", 1, 3) == b"ell"
    assert (bucket.has("a/b.txt"), bucket.has("a"), bucket.has("c")) == (True, False, False)
    (tmp_path / "large").write_bytes(LARGE)
    bucket.put(tmp_path / "large", "large")
    bucket.get("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == LARGE


@pytest.mark.slow
def test_what_is_there_is_listed(bucket):
    for name in ("x", "a/1", "a/deep/2", "b/deep/3"):
        bucket.write(name, b"12")
    bucket.under("a").write("4", b"123")
    assert bucket.files() == {"x": 2, "a/1": 2, "a/4": 3, "a/deep/2": 2, "b/deep/3": 2}
    assert bucket.folders() == ["a", "b"]
    assert bucket.under("a").folders() == ["deep"]
    assert bucket.absent(["x", "a/1", "y", "a/deep"]) == [2, 3]
    assert abs(bucket.stamps()["x"].modified_ns / 1e9 - time.time()) < 60


def test_another_content_is_another_digest(bucket):
    bucket.write("x", b"one")
    before = bucket.digest("x")
    assert bucket.digest("x") == before
    bucket.write("x", b"two")
    assert bucket.stamp("x").num_bytes == 3
    assert bucket.digest("x") != before


@pytest.mark.slow
def test_what_is_not_there(bucket):
    with pytest.raises(FileNotFoundError):
        bucket.read("none")
    bucket.remove("none")
    bucket.remove_all()
    assert (bucket.files(), bucket.folders()) == ({}, [])
    assert not Bucket(bucket.scheme, "nobody-has-this").bucket_is_there


def test_all_under_it_goes_and_nothing_beside(bucket):
    bucket.write("a/1", b"1")
    beside = bucket.under("a").path("2").replace("/mine/", "/mine-too/")
    other = Bucket(bucket.scheme, beside.partition("://")[2].rpartition("/")[0])
    other.write("2", b"2")
    bucket.remove_all()
    assert not bucket.files()
    assert other.files() == {"2": 1}
