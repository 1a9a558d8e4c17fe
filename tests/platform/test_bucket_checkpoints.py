"""Checkpoints in a bucket: whole or none whatever request is the last, judged by their bytes, pruned, cached."""

import functools
import os
import shutil
from dataclasses import replace

import pytest
import torch
from make_checkpoint import FACTS, golden_state, save_checkpoint

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_model.checkpoint.snapshot import (
    FILES,
    MANIFEST,
    averaged_weights,
    read_facts,
    take_snapshot,
)
from rayox_model.core.errors import ModelError
from rayox_platform.models.open_model import checkpoint_facts
from rayox_platform.runs.bucket_checkpoints import BucketCheckpoints
from rayox_platform.runs.checkpoints import FolderCheckpoints
from rayox_platform.storage import cache
from rayox_platform.storage.bucket import Bucket

pytestmark = pytest.mark.slow

state = functools.cache(golden_state)


def snapshot(step, ap=None):
    return take_snapshot(state(), replace(FACTS, step=step, metrics={} if ap is None else {"AP": ap}))


@pytest.fixture
def checkpoints(bucket):
    return BucketCheckpoints(bucket)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_folders_and_buckets_do_the_same(checkpoints, tmp_path, kind):
    kept = checkpoints if kind == "bucket" else FolderCheckpoints(tmp_path / "run")
    assert (kept.newest(), kept.best()) == (None, None)
    kept.prune(1)
    names = [kept.write(snapshot(step, ap)) for step, ap in ((1, 0.7), (2, 0.4), (3, None), (4, 0.5))]
    assert [step_of(name) for name in names] == [1, 2, 3, 4]
    assert (kept.newest(), kept.best()) == (names[3], names[0])
    facts = read_facts(kept.fetch(names[1]))
    assert (facts.step, facts.metrics) == (2, {"AP": 0.4})
    kept.prune(2)
    assert [name for name in names if _is_there(kept, name)] == [names[0], names[2], names[3]]
    again = kept.write(snapshot(4, 0.9))
    assert kept.newest() == kept.best() == again
    assert read_facts(kept.fetch(again)).metrics == {"AP": 0.9}
    kept.prune(1)
    assert kept.newest() == kept.best() == again


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_of_equals_the_latest_is_the_best(checkpoints, tmp_path, kind):
    kept = checkpoints if kind == "bucket" else FolderCheckpoints(tmp_path / "run")
    names = [kept.write(snapshot(step, 0.0)) for step in (9, 10, 11)]
    kept.write(snapshot(12))
    assert kept.best() == names[2]


def _is_there(kept, name):
    try:
        read_facts(kept.fetch(name))
    except ModelError:
        return False
    return True


@pytest.mark.stores
def test_what_is_fetched_is_what_a_folder_would_have(checkpoints, tmp_path):
    local = save_checkpoint(tmp_path, state(), FACTS)
    fetched = checkpoints.fetch(checkpoints.write(take_snapshot(state(), FACTS)))
    mine, others = averaged_weights(fetched), averaged_weights(local)
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)


def test_an_upload_that_ends_at_any_request_leaves_the_one_before(checkpoints, bucket_door):
    """The store is away from the n-th request of an upload on, for every n there is."""
    first = checkpoints.write(snapshot(1))
    begun = len(bucket_door.requests)
    whole = checkpoints.write(snapshot(2))
    writes = [path for method, path in bucket_door.requests[begun:] if method in ("PUT", "POST")]
    assert [file for path in writes for file in (*FILES, MANIFEST) if f"/{file}" in path][-1] == MANIFEST
    assert checkpoints.newest() == whole
    checkpoints.remove(whole)
    for number in range(len(writes)):
        bucket_door.refused = WritesAfter(number)
        with pytest.raises(OSError, match="503"):
            checkpoints.write(snapshot(2))
        bucket_door.refused = lambda method, path: False
        reasons: list[str] = []
        assert checkpoints.choose(reasons.append).name == first
        assert all("cut off while it was written" in reason for reason in reasons)
    assert len(reasons) == len(writes) - 1, "nothing is there of the one whose first request failed"
    checkpoints.prune(2)
    assert {path.split("/")[0] for path in checkpoints.bucket.files()} == {first}


class WritesAfter:
    """Refuses them when so many have been let through."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, method: str, path: str) -> bool:
        if method not in ("PUT", "POST"):
            return False
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("fault", ["flipped", "missing", "cut short"])
def test_a_damaged_object_is_no_checkpoint(checkpoints, fault):
    names = [checkpoints.write(snapshot(step, step / 10)) for step in (1, 2)]
    checkpoints.fetch(names[1])
    for file in (*FILES, MANIFEST):
        whole = damage(checkpoints.bucket, f"{names[1]}/{file}", fault)
        reasons = []
        assert checkpoints.choose(reasons.append).name == names[0], file
        (reason,) = reasons
        assert names[1] in reason
        assert reason.endswith("going back to the one before")
        with pytest.raises(ModelError, match=checkpoints.address(names[1])):
            checkpoints.fetch(names[1])
        checkpoints.bucket.write(f"{names[1]}/{file}", whole)
        assert checkpoints.newest() == names[1]


def damage(bucket: Bucket, name: str, fault: str) -> bytes:
    """What was there before."""
    whole = bucket.read(name)
    content = bytearray(whole)
    content[len(content) // 2] ^= 16
    bucket.remove(name)
    if fault != "missing":
        bucket.write(name, bytes(content) if fault == "flipped" else bytes(content[: len(content) // 2]))
    return whole


def test_a_store_that_is_away_is_not_taken_for_a_damaged_checkpoint(checkpoints, bucket_door):
    checkpoints.write(snapshot(1))
    checkpoints.write(snapshot(2))
    bucket_door.refused = lambda method, path: method == "GET" and "ema" in path
    with pytest.raises(OSError, match="503"):
        checkpoints.newest()


def test_removal_takes_the_manifest_first_and_prune_fails_quietly(checkpoints, bucket_door):
    names = [checkpoints.write(snapshot(step)) for step in (1, 2)]
    bucket_door.refused = lambda method, path: method == "POST" and "delete" in path
    checkpoints.prune(1)
    assert f"{names[0]}/{MANIFEST}" not in checkpoints.bucket.files()
    assert f"{names[0]}/{FILES[0]}" in checkpoints.bucket.files()
    assert checkpoints.newest() == names[1]
    bucket_door.refused = lambda method, path: False
    checkpoints.prune(1)
    assert {path.split("/")[0] for path in checkpoints.bucket.files()} == {names[1]}


def test_a_checkpoint_is_downloaded_once_a_machine(checkpoints, bucket_door):
    name = checkpoints.write(snapshot(1))
    folder = checkpoints.fetch(name)
    before = len(bucket_door.requests)
    assert checkpoints.fetch(name) == folder
    assert checkpoints.newest() == name
    assert not [path for method, path in bucket_door.requests[before:] if method == "GET" and "safetensors" in path]
    (folder / FILES[0]).write_bytes(b"")
    assert read_facts(checkpoints.fetch(name)).step == 1, "a copy that was damaged here is fetched again"


def test_the_cache_keeps_a_few_and_what_is_in_use(checkpoints, monkeypatch):
    names = [checkpoints.write(snapshot(step)) for step in range(1, 5)]
    folders = [checkpoints.fetch(name) for name in names]
    assert all(folder.exists() for folder in folders)
    monkeypatch.setattr(cache, "IN_USE_SECONDS", -1.0)
    checkpoints.fetch(names[3])
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    shutil.rmtree(cache.cache_folder())


def test_no_scratch_is_left_not_even_by_a_killed_writer(checkpoints, bucket_door):
    checkpoints.write(snapshot(1))
    writing = cache.cache_folder("writing")
    assert list(writing.iterdir()) == []
    bucket_door.refused = lambda method, path: True
    with pytest.raises(OSError, match="503"):
        checkpoints.write(snapshot(2))
    assert list(writing.iterdir()) == []
    bucket_door.refused = lambda method, path: False
    mine = writing / cache._key(str(checkpoints))
    for left in (mine, writing / "recent", writing / "old"):
        (left / ".draft-1").mkdir(parents=True)
    os.utime(writing / "old", (0, 0))
    checkpoints.write(snapshot(2))
    assert [left.name for left in writing.iterdir()] == ["recent"]


def test_its_address_is_a_model_like_any_other(checkpoints):
    name = checkpoints.write(snapshot(3))
    assert checkpoint_facts(checkpoints.address(name)).step == 3
    for wrong in (checkpoints.address("model.onnx"), checkpoints.address("step-00000009-0000000000001")):
        with pytest.raises(ModelError, match=f"{wrong}: no checkpoint"):
            checkpoint_facts(wrong)
