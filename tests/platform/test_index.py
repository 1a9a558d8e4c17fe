"""A COCO file's index: what was read comes out again, and only for the very file it was made from."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from rayox_model.core.errors import DataError
from rayox_platform.data import index
from rayox_platform.data.coco import CocoDataset, read_coco
from rayox_platform.data.index import load_coco


@pytest.fixture
def annotations(tmp_path, monkeypatch) -> Path:
    """A small file, which counts as large here."""
    monkeypatch.setattr(index, "MIN_BYTES", 1)
    path = tmp_path / "instances.json"
    write(path)
    return path


def write(path: Path, width: float = 10.5) -> None:
    images = [{"id": n, "file_name": f"ü{n}\ud800.jpg", "height": 50, "width": 60} for n in (7, 3, 5)]
    boxes = [{"id": n, "image_id": 7 - n % 2 * 2, "category_id": 2 + n % 2, "bbox": [n, 2, width, 9]} for n in range(9)]
    categories = [{"id": 3, "name": "ä"}, {"id": 2, "name": "two"}, {"id": 9, "name": "nine"}]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def indices(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.*"))


def same(one: CocoDataset, other: CocoDataset) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(CocoDataset)]
    return all(
        mine.dtype == theirs.dtype and np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
        for mine, theirs in pairs
    )


def test_from_the_index_it_is_the_same(annotations, tmp_path):
    expected = read_coco(annotations)
    assert len(expected.notes) == 2
    assert same(load_coco(annotations, tmp_path / "cache"), expected)
    (made,) = indices(tmp_path / "cache")
    before = made.stat().st_ino
    assert same(load_coco(annotations, tmp_path / "cache"), expected)
    assert indices(tmp_path / "cache") == [made]
    assert made.stat().st_ino == before  # was read, not written


def test_real_files_come_out_the_same(shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "MIN_BYTES", 1)
    paths = [shared_data / "edge/json" / name for name in ("base.json", "no_annotations.json", "size_absent.json")]
    for path in [*paths, *shared_data.glob("*/annotations/*.json")]:
        for _ in range(2):
            assert same(load_coco(path, tmp_path), read_coco(path)), path


def test_the_index_is_what_is_read(annotations, tmp_path):
    """Proof that the second load does not look at the file: its index is exchanged for another file's."""
    load_coco(annotations, tmp_path / "cache")
    (made,) = indices(tmp_path / "cache")
    _, made_from = index.read_index(made)
    other = tmp_path / "other.json"
    write(other, width=3)
    index.write_index(read_coco(other), made, made_from)
    assert load_coco(annotations, tmp_path / "cache").bboxes_xywh[0, 2] == 3


def test_a_changed_file_is_read_again_even_with_its_old_size_and_time(annotations, tmp_path):
    cache = tmp_path / "cache"
    load_coco(annotations, cache)
    was = annotations.stat()
    write(annotations, width=20.5)
    os.utime(annotations, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert annotations.stat().st_size == was.st_size
    assert load_coco(annotations, cache).bboxes_xywh[0, 2] == 20.5
    write(annotations, width=7)
    assert load_coco(annotations, cache).bboxes_xywh[0, 2] == 7
    assert len(indices(cache)) == 1


def test_files_of_one_name_in_two_folders_have_two(annotations, tmp_path):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / annotations.name, width=3)
    for _ in range(2):
        assert load_coco(annotations, tmp_path / "cache").bboxes_xywh[0, 2] == 10.5
        assert load_coco(tmp_path / "b" / annotations.name, tmp_path / "cache").bboxes_xywh[0, 2] == 3


def test_a_broken_index_is_ignored_and_written_anew(annotations, tmp_path):
    expected = load_coco(annotations, tmp_path / "cache")
    (made,) = indices(tmp_path / "cache")
    whole = made.read_bytes()
    flipped = [whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :] for place in range(0, len(whole), 41)]
    for content in [b"", whole[:100], whole[:-1], whole[len(whole) // 2 :], b"x" * 1000, *flipped]:
        made.write_bytes(content)
        assert same(load_coco(annotations, tmp_path / "cache"), expected)
    made.write_bytes(b"")
    load_coco(annotations, tmp_path / "cache")
    assert made.read_bytes() == whole


def test_an_index_of_another_version_is_not_used(annotations, tmp_path, monkeypatch):
    load_coco(annotations, tmp_path / "cache")
    (made,) = indices(tmp_path / "cache")
    monkeypatch.setattr(index, "VERSION", index.VERSION + 1)
    with pytest.raises(index.BrokenIndex, match="another version"):
        index.read_index(made)
    load_coco(annotations, tmp_path / "cache")
    assert len(index.read_index(made)[0]) == 3


def test_small_files_and_folders_that_cannot_be_written_have_none(annotations, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    assert len(load_coco(annotations, tmp_path / "file")) == 3
    monkeypatch.setattr(index, "MIN_BYTES", annotations.stat().st_size + 1)
    assert len(load_coco(annotations, tmp_path / "cache")) == 3
    assert not (tmp_path / "cache").exists()


def test_errors_are_the_reader_s(annotations, tmp_path):
    annotations.write_text('{"images": 5}')
    with pytest.raises(DataError, match="no list named 'categories'"):
        load_coco(annotations, tmp_path / "cache")
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        load_coco(tmp_path / "none.json", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


LOADING = """
import sys
from pathlib import Path
from rayox_platform.data import index
index.MIN_BYTES = 1
path, cache = map(Path, sys.argv[1:])
for _ in range(30):
    for made in cache.rglob("*.parquet"):
        made.unlink(missing_ok=True)
    assert index.load_coco(path, cache).bboxes_xywh[0, 2] == 10.5
"""


@pytest.mark.slow
def test_processes_may_do_it_at_once(annotations, tmp_path):
    command = [sys.executable, "-c", LOADING, str(annotations), str(tmp_path / "cache")]
    workers = [subprocess.Popen(command) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(indices(tmp_path / "cache")) == 1


def test_unpickling_a_data_set_imports_neither_torch_nor_arrow(annotations, tmp_path):
    import pickle

    (tmp_path / "pickled").write_bytes(pickle.dumps(load_coco(annotations, tmp_path / "cache")))
    code = f"import pickle, sys; d = pickle.load(open({str(tmp_path / 'pickled')!r}, 'rb')); print(len(d))"
    code += "; print({'torch', 'pyarrow', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["3", "set()"]


def test_arrays_pickle_out_of_band(annotations):
    import pickle

    buffers: list[pickle.PickleBuffer] = []
    inside = pickle.dumps(read_coco(annotations), protocol=5, buffer_callback=buffers.append)
    assert len(buffers) >= 12
    assert b"\xc3\xbc3" not in inside  # no file name
