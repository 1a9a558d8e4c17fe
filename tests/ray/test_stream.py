"""The stream over real Ray: every rank gets its lanes in order, and the global batches do not depend on the ranks."""

import hashlib
import time
from dataclasses import dataclass

import numpy as np
import pytest
import ray

from rayox_model.augment.augment_settings import Augment
from rayox_model.core.errors import DataError
from rayox_model.core.plan import StreamPlan
from rayox_platform.data.resolve import resolve_split
from rayox_platform.stream.batches import rank_batches
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import LaneSplit, stream_dataset
from rayox_platform.stream.lane_assignment import deal

pytestmark = pytest.mark.ray
LANES = 4


@pytest.fixture(scope="module")
def readers(cluster):
    """Processes that read as ranks do, one for each lane: starting one takes longer than reading a stream."""
    actors = [Reader.remote() for _ in range(LANES)]
    yield actors
    for actor in actors:
        ray.kill(actor)


@ray.remote(num_cpus=0)
class Reader:
    def lane_hashes(self, shard, plan, rank, world_size):
        """For each step, a digest of each of this rank's lanes: pixels, boxes and labels."""
        rng = np.random.default_rng(rank)
        steps = []
        batches = rank_batches(shard, plan, rank, world_size)
        for window, lanes in enumerate(deal(plan, world_size)):
            time.sleep(rng.random() / 5)  # some ranks are slower than others
            for _ in plan.steps(window):
                batch = next(batches)
                steps.append((batch.epoch, dict(zip(lanes[rank], digests(batch, len(lanes[rank])), strict=True))))
        assert next(batches, None) is None
        return steps


def digests(batch, num_lanes):
    rows = len(batch.images) // num_lanes
    for start in range(0, len(batch.images), rows):
        chosen = (batch.targets.image_index >= start) & (batch.targets.image_index < start + rows)
        digest = hashlib.sha256(batch.images[start : start + rows].numpy().tobytes())
        digest.update(batch.targets.boxes[chosen].numpy().tobytes())
        digest.update(batch.targets.labels[chosen].numpy().tobytes())
        yield digest.hexdigest()[:12]


@dataclass(frozen=True)
class DelayedBlocks(SampleBlocks):
    """Tasks that end in another order than they start in."""

    def __call__(self, block):
        time.sleep(np.random.default_rng(block["id"][0]).random() / 10)
        return super().__call__(block)


@dataclass(frozen=True)
class HugeBlocks(SampleBlocks):
    """240 MiB a block: more than Ray Data's target for one, which it would cut up."""

    def __call__(self, block):
        return {"id": np.repeat(block["id"], 4), "pixels": np.zeros((4, 60 * 2**20), np.uint8)}


def global_batches(readers, toy_data, world_size, start_step=0, window_steps=2):
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    plan = StreamPlan(
        num_images=len(images),
        batch_size=8,
        lanes=LANES,
        epochs=3,
        seed=7,
        closing_epochs=1,
        start_step=start_step,
        window_steps=window_steps,
    )
    dataset = stream_dataset(DelayedBlocks(ray.put(images), plan, Augment(), (64, 64)))
    shards = [part["train"] for part in LaneSplit().configure({"train": dataset}, world_size, None, None)]
    ranks = ray.get([readers[r].lane_hashes.remote(shards[r], plan, r, world_size) for r in range(world_size)])
    merged = [
        {lane: digest for _, lanes in step for lane, digest in lanes.items()} for step in zip(*ranks, strict=True)
    ]
    assert all(sorted(lanes) == list(range(LANES)) for lanes in merged)
    assert len({tuple(epoch for epoch, _ in rank) for rank in ranks}) == 1
    return merged


def test_global_batches_are_equal_for_any_ranks_windows_and_starts(readers, toy_data):
    whole = global_batches(readers, toy_data, world_size=1)
    assert len(whole) == 9  # 20 images fill 3 batches of 8, three times
    assert len({digest for lanes in whole for digest in lanes.values()}) > 30  # not the same picture again and again
    assert global_batches(readers, toy_data, world_size=2, start_step=4, window_steps=3) == whole[4:]
    assert global_batches(readers, toy_data, world_size=4, start_step=1, window_steps=1) == whole[1:]
    assert global_batches(readers, toy_data, world_size=3, start_step=2) == whole[2:]  # 3 ranks go around the 4 lanes


def test_global_batches_are_the_same_on_plain_ray(readers, toy_data, monkeypatch):
    expected = global_batches(readers, toy_data, world_size=2, start_step=4)
    monkeypatch.setenv("RAYOX_PLAIN_RAY", "1")
    assert global_batches(readers, toy_data, world_size=2, start_step=4) == expected


def test_a_rank_that_gets_another_lane_stops(cluster, toy_data):
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    plan = StreamPlan(num_images=20, batch_size=8, lanes=LANES, epochs=1, seed=7, closing_epochs=0)
    dataset = stream_dataset(SampleBlocks(ray.put(images), plan, Augment(), (64, 64)))
    with pytest.raises(DataError, match="expected step 0, lane 1, got step 0, lane 0"):
        next(rank_batches(dataset.iterator(), plan, rank=1, world_size=2))


def test_a_block_of_huge_images_stays_one(cluster):
    plan = StreamPlan(num_images=8, batch_size=8, lanes=2, epochs=1, seed=7, closing_epochs=0, window_steps=1)
    (shard,) = stream_dataset(HugeBlocks(None, plan, Augment(), (64, 64))).streaming_split(1, equal=False)
    assert ray.get(ids_of_blocks.remote(shard)) == [[0] * 4, [1] * 4]


@ray.remote(num_cpus=0)
def ids_of_blocks(shard):
    return [block["id"].tolist() for block in shard.iter_batches(batch_size=None, batch_format="numpy")]
