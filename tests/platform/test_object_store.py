"""Data sets on an object store: a real S3 interface, whole, with holes, failing for a moment and for good."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from object_store import Door, make_bucket, moto_store, point_to, store

from rayox_model.core.errors import ConfigError, DataError
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.data.resolve import resolve_split
from rayox_platform.data.shard_writer import write_shards
from rayox_platform.storage import retry
from rayox_platform.storage.bucket import Stamp
from rayox_platform.storage.folders import LocalFolder, open_folder
from rayox_platform.storage.retry import ATTEMPTS, retried

pytestmark = pytest.mark.slow

ANNOTATIONS = "s3://bucket/coco/val.json"
IMAGES = "s3://bucket/coco/images"
NAMES = [f"val{number}.png" for number in range(7)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_store() as address:
        yield address


@pytest.fixture
def s3(server, monkeypatch, toy_data) -> str:
    """The toy data in a bucket; the store's host and port."""
    point_to(monkeypatch, server)
    make_bucket(server)
    upload(server, "coco/val.json", (toy_data / "val.json").read_bytes())
    for name in NAMES:
        upload(server, f"coco/images/{name}", (toy_data / "images" / name).read_bytes())
    return server


@pytest.fixture
def door(s3, monkeypatch) -> Iterator[Door]:
    """What rayox goes through to the store; waits are short here."""
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    door = Door(s3)
    point_to(monkeypatch, door.address)
    yield door
    door.close()


def upload(address: str, key: str, content: bytes) -> None:
    with store(address).open_output_stream(f"bucket/{key}") as file:
        file.write(content)


@pytest.mark.slow
def test_a_bucket_is_read_as_a_folder_is(s3, toy_data, tmp_path):
    expected, local = resolve_split(str(toy_data / "val.json"), str(toy_data / "images"), tmp_path)
    dataset, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    assert dataset.source == ANNOTATIONS
    assert dataset.boxes.tolist() == expected.boxes.tolist()
    for index in range(len(images)):
        assert np.array_equal(images.load(index).image, local.load(index).image)
    order = [5, 0, 3, 3]
    assert images.source.read_many(order) == [local.source.read(index) for index in order]


def test_local_annotations_go_with_images_in_a_bucket_and_the_other_way_round(s3, toy_data, tmp_path):
    for annotations, folder in ((str(toy_data / "val.json"), IMAGES), (ANNOTATIONS, str(toy_data / "images"))):
        _, images = resolve_split(annotations, folder, tmp_path)
        assert images.load(6).image.shape == (64, 64, 3)
    with pytest.raises(DataError, match="the folder of its images is not given") as caught:
        resolve_split(ANNOTATIONS, None, tmp_path)
    assert "data.train.images" in caught.value.hint


@pytest.mark.slow
def test_sizes_that_are_absent_come_from_the_images(s3, toy_data, tmp_path):
    coco = json.loads((toy_data / "val.json").read_text())
    for image in coco["images"]:
        del image["height"], image["width"]
    upload(s3, "coco/sizes.json", json.dumps(coco).encode())
    _, images = resolve_split("s3://bucket/coco/sizes.json", IMAGES, tmp_path)
    assert [images.size(index) for index in range(7)] == [(64, 64)] * 7


def test_missing_objects_are_named_from_one_listing(s3, door, tmp_path):
    for name in (NAMES[2], NAMES[5]):
        store(s3).delete_file(f"bucket/coco/images/{name}")
    with pytest.raises(DataError, match=r"2 of its 7 images are missing; the first: s3://bucket/coco/images/val2\.png"):
        resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    about_images = [path for _, path in door.requests if "val" in path and "json" not in path]
    assert about_images == []
    assert len([path for _, path in door.requests if "list-type=2" in path]) <= 2  # is there anything, and what


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotations", "images", "says"),
    [
        ("s3://bucket/coco/none.json", IMAGES, r"s3://bucket/coco/none\.json: cannot be read"),
        ("s3://nobucket/val.json", IMAGES, r"s3://nobucket/val\.json: cannot be read"),
        (ANNOTATIONS, "s3://bucket/none", r"s3://bucket/none: no such folder of images"),
        (ANNOTATIONS, "s3://nobucket/none", r"s3://nobucket/none: cannot be read \(NO_SUCH_BUCKET"),
    ],
)
def test_what_is_not_there_is_a_data_error_with_its_address(s3, annotations, images, says, tmp_path):
    with pytest.raises(DataError, match=says):
        resolve_split(annotations, images, tmp_path)


def test_other_addresses_are_refused():
    with pytest.raises(ConfigError, match="http://x/y: rayox cannot read this kind"):
        open_folder("http://x/y")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_keys_that_lead_out_of_the_prefix_are_refused(s3, toy_data, tmp_path, name):
    coco = json.loads((toy_data / "val.json").read_text())
    coco["images"][0]["file_name"] = name
    upload(s3, "coco/out.json", json.dumps(coco).encode())
    with pytest.raises(DataError, match="leads out of the folder of images"):
        resolve_split("s3://bucket/coco/out.json", IMAGES, tmp_path)


@pytest.mark.parametrize("name", ["naïve 图像 #1%20?.png", "a/b c/+&=;.png", "./plain.png", "a//b.png"])
def test_names_of_all_kinds_are_found(s3, toy_data, tmp_path, name):
    content = (toy_data / "images/val0.png").read_bytes()
    upload(s3, f"odd/{name.removeprefix('./').replace('//', '/')}", content)
    coco = json.loads((toy_data / "val.json").read_text())
    coco["images"], coco["annotations"] = coco["images"][:1], []
    coco["images"][0]["file_name"] = name
    upload(s3, "odd.json", json.dumps(coco).encode())
    _, images = resolve_split("s3://bucket/odd.json", "s3://bucket/odd/", tmp_path)
    assert images.source.read(0) == content


@pytest.mark.parametrize("status", [500, 503, 429, 0])
def test_what_fails_for_a_moment_is_tried_again(door, status, tmp_path):
    """At most ATTEMPTS − 1 failures in a row, at every kind of request there is."""
    door.status = status
    for failures in (1, ATTEMPTS - 1):
        door.failures = failures
        _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
        door.failures = failures
        assert len(images.source.read(3)) > 100
        assert door.failures < 0


def test_what_keeps_failing_is_a_data_error_after_the_stated_attempts(door, tmp_path):
    _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    before, door.failures = len(door.requests), 1000
    with pytest.raises(DataError, match=r"s3://bucket/coco/images/val3\.png: cannot be read \(.*503"):
        images.source.read(3)
    assert len(door.requests) - before == ATTEMPTS == 5
    with pytest.raises(DataError, match=r"s3://bucket/coco/images: cannot be read|val\.json: cannot be read"):
        resolve_split(ANNOTATIONS, IMAGES, tmp_path)


@pytest.mark.parametrize("status", [400, 403])
def test_what_is_refused_for_good_is_not_tried_again(door, status, tmp_path):
    _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    before, door.failures, door.status = len(door.requests), 1000, status
    with pytest.raises(DataError, match=r"val3\.png: cannot be read"):
        images.source.read(3)
    asked = [path for _, path in door.requests[before:]]
    assert asked.count("/bucket/coco/images/val3.png") == 1  # then at most the bucket, for what was refused


def test_an_image_that_goes_away_later_is_named(s3, tmp_path):
    _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    store(s3).delete_file(f"bucket/coco/images/{NAMES[1]}")
    with pytest.raises(DataError, match=r"s3://bucket/coco/images/val1\.png: no such image"):
        images.load(1)


def test_a_store_that_is_down_is_a_data_error(s3, monkeypatch, tmp_path):
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    point_to(monkeypatch, "127.0.0.1:9")
    with pytest.raises(DataError, match=r"val\.json: cannot be read"):
        resolve_split(ANNOTATIONS, IMAGES, tmp_path)


def test_the_waits_double():
    waits: list[float] = []

    def work() -> None:
        raise OSError("busy")

    with pytest.raises(OSError, match="busy"):
        retried(work, waits.append)
    assert len(waits) == ATTEMPTS - 1
    for wait, least in zip(waits, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert least <= wait <= 1.25 * least
    waits.clear()
    with pytest.raises(FileNotFoundError):
        retried(lambda: Path("/none").read_bytes(), waits.append)
    assert waits == []


def test_what_goes_to_the_workers_holds_no_secret_and_is_small(s3, tmp_path):
    _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    pickled = pickle.dumps(images)
    assert b"nobody" not in pickled
    assert b"nothing" not in pickled
    assert len(pickled) < 6000
    assert pickle.loads(pickled).source.read(2) == images.source.read(2)


def test_the_same_bytes_have_one_fingerprint_in_a_folder_a_bucket_and_shards(s3, toy_data, tmp_path):
    _, images = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    before = fingerprint(images)
    _, local = resolve_split(str(toy_data / "val.json"), str(toy_data / "images"), tmp_path)
    assert before == fingerprint(local)
    write_shards(local, LocalFolder(tmp_path / "shards"))
    _, sharded = resolve_split(str(tmp_path / "shards"), None, tmp_path)
    assert before == fingerprint(sharded)
    with store(s3).open_output_stream("bucket/coco/images/val4.png") as file:  # in parts: another ETag, the same bytes
        file.write((toy_data / "images/val4.png").read_bytes())
    assert fingerprint(images) == before
    content = bytearray((toy_data / "images/val4.png").read_bytes())
    content[-20] ^= 1
    upload(s3, "coco/images/val4.png", bytes(content))
    assert fingerprint(images).images != before.images


def test_a_large_remote_file_has_an_index_for_as_long_as_it_is_the_same(s3, door, toy_data, tmp_path, monkeypatch):
    monkeypatch.setattr("rayox_platform.data.index.MIN_BYTES", 1)
    for _ in range(2):
        dataset, _ = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    assert [method for method, path in door.requests if path.endswith("val.json")].count("GET") == 1
    coco = json.loads((toy_data / "val.json").read_text())
    coco["annotations"][0]["area"] = 575
    upload(s3, "coco/val.json", json.dumps(coco).encode())
    again, _ = resolve_split(ANNOTATIONS, IMAGES, tmp_path)
    assert (dataset.areas[0], again.areas[0]) == (576, 575)


def test_local_folders_and_buckets_do_the_same(s3, tmp_path):
    content = bytes(range(256)) * 10
    (tmp_path / "made").write_bytes(content)
    for folder in (open_folder("s3://bucket/new"), LocalFolder(tmp_path / "new")):
        assert not folder.exists()
        assert folder.files() == {}
        folder.put(tmp_path / "made", "a/b")
        assert folder.exists()
        assert folder.files() == {"a/b": len(content)}
        assert folder.read("a/b") == content
        assert folder.read_range("a/b", 300, 7) == content[300:307]
        assert folder.read_range("a/b", len(content) - 3, 7) == content[-3:]
        assert folder.absent(["a/b", "a/c", "b"]) == [1, 2]
        assert isinstance(folder.stamp("a/b"), Stamp)
        assert folder.stamp("a/b").num_bytes == len(content)
        with pytest.raises(FileNotFoundError):
            folder.read("a/c")
        with pytest.raises(FileNotFoundError):
            folder.stamp("a/c")
        folder.remove("a/b")
        assert folder.files() == {}


def test_symbolic_links_and_folders_are_told_from_files(tmp_path):
    (tmp_path / "real.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("real.png")
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "folder.png").mkdir()
    names = ["real.png", "link.png", "broken.png", "folder.png", "x/real.png", "./real.png"]
    assert LocalFolder(tmp_path).absent(names) == [2, 3, 4]
