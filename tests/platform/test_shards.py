"""Shards: what goes in comes out to the last bit, and every fault of a file is found and named."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from object_store import make_bucket, moto_store, point_to

from rayox_model.augment.augment_settings import Augment
from rayox_model.augment.sample import make_sample
from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.plan import sample_rng
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.data.shard_check import verify_shards
from rayox_platform.data.shard_writer import GROUP_IMAGES, write_shards
from rayox_platform.data.shards import read_manifest
from rayox_platform.data.source import ImageSource
from rayox_platform.storage.folders import Folder, LocalFolder, open_folder

SHARD_BYTES = 2_000_000  # small, for several of them


def cells(folder: Path, state: Path) -> CocoImages:
    """210 real photos."""
    return resolve_split(str(folder / "annotations/instances_train.json"), str(folder / "images"), state)[1]


@pytest.fixture(scope="module")
def made(real_cells, tmp_path_factory) -> tuple[CocoImages, LocalFolder]:
    folder = tmp_path_factory.mktemp("cells")
    images, out = cells(real_cells, folder), LocalFolder(folder / "shards")
    write_shards(images, out, SHARD_BYTES)
    return images, out


@pytest.fixture
def shards(made, tmp_path) -> Path:
    """A copy to be damaged."""
    (tmp_path / "shards").mkdir()
    for path in made[1].folder.iterdir():
        (tmp_path / "shards" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "shards"


def opened(address: Path | str, state: Path) -> CocoImages:
    return resolve_split(str(address), None, state)[1]


def same_dataset(one: CocoDataset, other: CocoDataset) -> bool:
    names = [field.name for field in fields(CocoDataset) if field.name != "source"]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names if name != "notes")


def test_annotations_and_bytes_come_out_as_they_went_in(made, tmp_path):
    images, out = made
    found = opened(out.folder, tmp_path)
    assert same_dataset(found.dataset, images.dataset)
    assert found.dataset.notes == images.dataset.notes
    assert [found.source.read(index) for index in range(210)] == [images.source.read(index) for index in range(210)]
    assert isinstance(found.source, ImageSource)
    assert isinstance(images.source, ImageSource)


@pytest.mark.parametrize("strong", [True, False])
def test_training_samples_are_the_same_to_the_last_bit(made, tmp_path, strong):
    images, out = made
    found = opened(out.folder, tmp_path)
    settings = Augment(mosaic_prob=1.0, mixup_prob=1.0)
    for index in range(0, 210, 30):
        drawn = [
            make_sample(one, index, sample_rng(3, 1, index), settings, (96, 128), strong) for one in (images, found)
        ]
        for mine, theirs in zip(*drawn, strict=True):
            assert mine.tobytes() == theirs.tobytes()


def test_the_fingerprint_is_that_of_the_folder(made, tmp_path):
    images, out = made
    assert fingerprint(opened(out.folder, tmp_path)) == fingerprint(images)


def test_the_layout_is_as_stated(made):
    images, out = made
    manifest = read_manifest(out)
    assert sorted(out.files()) == sorted(["manifest.json", *(file.name for file in manifest.files)])
    assert (manifest.num_images, manifest.num_annotations) == (210, len(images.dataset.labels))
    assert sum(file.num_images for file in manifest.files) == 210
    assert len(manifest.shards) > 1
    for name in manifest.shards:
        with pq.ParquetFile(out.folder / name) as file:
            rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            assert set(rows[:-1]) <= {GROUP_IMAGES}
            table = file.read(["image_ids", "bytes", "labels", "bboxes_xywh"])
        for row in table.to_pylist()[::40]:
            index = images.dataset.image_ids.tolist().index(row["image_ids"])
            rows_of = slice(images.dataset.offsets[index], images.dataset.offsets[index + 1])
            assert row["bytes"] == images.source.read(index)
            assert row["labels"] == images.dataset.labels[rows_of].tolist()
            assert row["bboxes_xywh"] == images.dataset.bboxes_xywh[rows_of].tolist()


def test_the_same_data_make_the_same_files(made, tmp_path):
    images, out = made
    write_shards(images, LocalFolder(tmp_path / "again"), SHARD_BYTES)
    assert (tmp_path / "again/manifest.json").read_bytes() == (out.folder / "manifest.json").read_bytes()


class Counted(LocalFolder):
    """Keeps what was read."""

    reads: list[tuple[str, int, int]] = []  # noqa: RUF012 - of all, as the folder is frozen

    def read_range(self, name: str, start: int, num_bytes: int) -> bytes:
        self.reads.append((name, start, num_bytes))
        return super().read_range(name, start, num_bytes)


def test_one_image_is_one_small_read_and_neighbours_are_one_together(made):
    from rayox_platform.data.shards import open_shards

    images, out = made
    source = open_shards(Counted(out.folder)).source
    Counted.reads.clear()
    content = source.read(137)
    assert [num_bytes for _, _, num_bytes in Counted.reads] == [len(content)]
    Counted.reads.clear()
    order = np.random.default_rng(0).permutation(210).tolist()
    assert source.read_many(order) == [images.source.read(index) for index in order]
    assert len(Counted.reads) == len(read_manifest(out).shards)
    Counted.reads.clear()
    assert source.read_many([5, 200, 5]) == [images.source.read(index) for index in (5, 200, 5)]
    assert len(Counted.reads) == 2
    assert source.read_many([]) == []


def test_a_task_reads_what_it_will_need_at_once(made):
    from rayox_platform.data.shards import open_shards

    images, out = made
    task = open_shards(Counted(out.folder)).holding([8, 3, 4, 3])
    Counted.reads.clear()
    for index in (3, 8, 4):
        assert task.load(index).image.tobytes() == images.load(index).image.tobytes()
    assert Counted.reads == []
    assert task.source.read_many([4, 100, 8]) == [images.source.read(index) for index in (4, 100, 8)]
    assert task.source.read(101) == images.source.read(101)
    assert len(Counted.reads) == 2
    assert isinstance(task.source, ImageSource)
    assert task.source.digest(5) == images.source.digest(5)


def test_images_of_any_kind_go_through_also_broken_and_empty_ones(shared_data, tmp_path):
    """Shards copy bytes; what is not an image is met when it is trained."""
    names = sorted(path.name for path in (shared_data / "edge/images").iterdir())
    coco = {"images": [{"id": n, "file_name": name, "height": 9, "width": 9} for n, name in enumerate(names)]}
    coco |= {"categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    _, images = resolve_split(str(tmp_path / "coco.json"), str(shared_data / "edge/images"), tmp_path)
    write_shards(images, LocalFolder(tmp_path / "out"), 1)
    found = opened(tmp_path / "out", tmp_path)
    assert list(found.dataset.file_names) == names
    for index, name in enumerate(names):
        assert found.source.read(index) == (shared_data / "edge/images" / name).read_bytes()
    assert verify_shards(LocalFolder(tmp_path / "out"))[1] == []


def test_another_annotation_file_finds_its_images_by_name(made, real_cells, tmp_path):
    images, out = made
    coco = json.loads((real_cells / "annotations/instances_train.json").read_text())
    coco["images"] = coco["images"][::-1][:50]
    kept = {image["id"] for image in coco["images"]}
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] in kept]
    (tmp_path / "part.json").write_text(json.dumps(coco))
    dataset, found = resolve_split(str(tmp_path / "part.json"), str(out.folder), tmp_path)
    assert len(dataset) == 50
    assert found.source.read(0) == images.source.read(209)
    coco["images"][7]["file_name"] = "unknown.jpg"
    (tmp_path / "part.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"1 of its 50 images are not in the shards .*unknown\.jpg"):
        resolve_split(str(tmp_path / "part.json"), str(out.folder), tmp_path)


def test_it_ships_small(made, tmp_path):
    images = opened(made[1].folder, tmp_path)
    copied = pickle.loads(pickle.dumps(images))
    assert copied.source.read(9) == images.source.read(9)
    assert len(pickle.dumps(images)) - len(pickle.dumps(images.dataset)) < 60 * 210 + 1000


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "first bit": bytes([content[0] ^ 128]) + content[1:],
        "cut by one byte": content[:-1],
        "cut in half": content[:middle],
        "empty": b"",
        "one byte more": content + b"x",
    }
    path.write_bytes(changed[how])


HOW = ["one bit", "first bit", "cut by one byte", "cut in half", "empty", "one byte more", "missing"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["shard-00000.parquet", "shard-00001.parquet", "index.parquet", "places.parquet"])
def test_every_damage_to_a_file_is_named(shards, name, how):
    assert verify_shards(LocalFolder(shards))[1] == []
    if how == "missing":
        (shards / name).unlink()
    else:
        damage(shards / name, how)
    (fault,) = verify_shards(LocalFolder(shards))[1]
    assert fault.name == name
    expected = {"missing": "missing", "one byte more": "too long", "one bit": "changed", "first bit": "changed"}
    assert fault.what.startswith(expected.get(how, "cut short"))


def test_all_faults_are_named_at_once_and_extra_files_too(shards):
    (shards / "shard-00001.parquet").unlink()
    damage(shards / "index.parquet", "one bit")
    (shards / "notes.txt").write_text("x")
    faults = verify_shards(LocalFolder(shards))[1]
    assert [fault.name for fault in faults] == ["shard-00001.parquet", "index.parquet", "notes.txt"]
    assert faults[-1].what.startswith("extra")


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_a_damaged_manifest_is_refused(shards, place):
    path = shards / "manifest.json"
    content = bytearray(path.read_bytes())
    at = place * len(content) // 100
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        verify_shards(LocalFolder(shards))


def test_a_folder_without_manifest_is_no_data_set(shards, tmp_path):
    (shards / "manifest.json").unlink()
    with pytest.raises(DataError, match="not a folder of shards"):
        verify_shards(LocalFolder(shards))
    with pytest.raises(DataError, match="cannot be read"):
        opened(shards, tmp_path)


def test_training_does_not_take_changed_bytes(shards, tmp_path):
    images = opened(shards, tmp_path)
    start = int(images.source.start[3])
    content = bytearray((shards / "shard-00000.parquet").read_bytes())
    content[start + 100] ^= 4
    (shards / "shard-00000.parquet").write_bytes(content)
    for read in (images.source.read, lambda index: images.source.read_many([index])):
        with pytest.raises(DataError, match=r"shard-00000\.parquet: .*does not hold the bytes it was written with"):
            read(3)
    assert images.source.read(4)
    (shards / "shard-00000.parquet").unlink()
    with pytest.raises(DataError, match=r"shard-00000\.parquet: .*: no such image"):
        images.source.read(4)


@pytest.mark.parametrize("name", ["shard-00001.parquet", "index.parquet", "places.parquet"])
def test_shards_with_a_missing_file_do_not_open(shards, name, tmp_path):
    (shards / name).unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        opened(shards, tmp_path)


def test_an_interrupted_sharding_counts_for_nothing_and_is_made_anew(made, tmp_path):
    images, _ = made
    folder = tmp_path / "out"

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(images, LocalFolder(folder), SHARD_BYTES, stop)
    assert {path.name for path in folder.iterdir()} == {"shard-00000.parquet"}
    (folder / ".unfinished-abc").mkdir()
    (folder / ".unfinished-abc" / "shard-00001.parquet").write_bytes(b"of a killed process")
    write_shards(images, LocalFolder(folder), SHARD_BYTES)
    assert verify_shards(LocalFolder(folder))[1] == []


def test_only_an_empty_folder_is_written_to(made, tmp_path):
    images, out = made
    with pytest.raises(ConfigError, match="holds a data set already"):
        write_shards(images, out, SHARD_BYTES)
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"is not empty \(photo\.jpg\)"):
        write_shards(images, LocalFolder(tmp_path), SHARD_BYTES)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot be written"):
        write_shards(images, LocalFolder(tmp_path / "file"), SHARD_BYTES)


@pytest.fixture
def bucket(monkeypatch) -> Iterator[Folder]:
    with moto_store() as address:
        point_to(monkeypatch, address)
        make_bucket(address)
        yield open_folder("s3://bucket/cells")


@pytest.mark.slow
def test_shards_in_a_bucket(made, bucket, tmp_path):
    """Written, verified, read, damaged and found to be so."""
    images, _ = made
    manifest = write_shards(images, bucket, SHARD_BYTES)
    assert verify_shards(bucket) == (manifest, [])
    found = opened("s3://bucket/cells", tmp_path)
    order = [200, 3, 4, 77]
    assert found.source.read_many(order) == [images.source.read(index) for index in order]
    assert found.source.read(150) == images.source.read(150)
    assert fingerprint(found) == fingerprint(images)
    with pytest.raises(ConfigError, match="holds a data set already"):
        write_shards(images, bucket, SHARD_BYTES)
    (tmp_path / "bad").write_bytes(bucket.read("shard-00001.parquet")[:-1])
    bucket.put(tmp_path / "bad", "shard-00001.parquet")
    bucket.put(tmp_path / "bad", "more/extra")
    bucket.remove("places.parquet")
    faults = {fault.name: fault.what.split(":")[0] for fault in verify_shards(bucket)[1]}
    assert faults == {"shard-00001.parquet": "cut short", "more/extra": "extra", "places.parquet": "missing"}
