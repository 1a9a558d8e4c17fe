"""The stream over real Ray: every rank gets its lanes in order, and the global batches do not depend on the ranks."""

import hashlib

import pytest
import ray

from rayox_model.augment.settings import Augment
from rayox_model.errors import DataError
from rayox_model.plan import StreamPlan
from rayox_platform.blocks import SampleBlocks
from rayox_platform.data.resolve import resolve_split
from rayox_platform.stream import LaneSplit, rank_batches, stream_dataset

pytestmark = pytest.mark.ray
LANES = 4


@ray.remote(num_cpus=0)
def lane_hashes(shard, plan, rank, world_size):
    """For each step, a digest of each of this rank's lanes: pixels, boxes and labels."""
    rows = plan.batch_size // plan.lanes
    steps = []
    for batch in rank_batches(shard, plan, rank, world_size):
        digests = {}
        for place, lane in enumerate(range(rank, plan.lanes, world_size)):
            part = slice(place * rows, (place + 1) * rows)
            chosen = (batch.targets.image_index >= part.start) & (batch.targets.image_index < part.stop)
            digest = hashlib.sha256(batch.images[part].numpy().tobytes())
            digest.update(batch.targets.boxes[chosen].numpy().tobytes())
            digest.update(batch.targets.labels[chosen].numpy().tobytes())
            digests[lane] = digest.hexdigest()[:12]
        steps.append((batch.epoch, digests))
    return steps


def global_batches(toy_data, world_size, start_step=0, window_steps=2):
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
    dataset = stream_dataset(SampleBlocks(ray.put(images), plan, Augment(), (64, 64)))
    shards = [part["train"] for part in LaneSplit().configure({"train": dataset}, world_size, None, None)]
    ranks = ray.get([lane_hashes.remote(shards[r], plan, r, world_size) for r in range(world_size)])
    merged = [
        {lane: digest for _, lanes in step for lane, digest in lanes.items()} for step in zip(*ranks, strict=True)
    ]
    assert all(sorted(lanes) == list(range(LANES)) for lanes in merged)
    assert len({tuple(epoch for epoch, _ in rank) for rank in ranks}) == 1
    return merged


def test_global_batches_are_equal_for_any_ranks_windows_and_starts(cluster, toy_data):
    whole = global_batches(toy_data, world_size=1)
    assert len(whole) == 9  # 20 images fill 3 batches of 8, three times
    assert len({digest for lanes in whole for digest in lanes.values()}) > 30  # not the same picture again and again
    assert global_batches(toy_data, world_size=2, window_steps=3) == whole
    assert global_batches(toy_data, world_size=2, start_step=4) == whole[4:]


def test_a_rank_that_gets_another_lane_stops(cluster, toy_data):
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    plan = StreamPlan(num_images=20, batch_size=8, lanes=LANES, epochs=1, seed=7, closing_epochs=0)
    dataset = stream_dataset(SampleBlocks(ray.put(images), plan, Augment(), (64, 64)))
    with pytest.raises(DataError, match="expected step 0, lane 1, got step 0, lane 0"):
        next(rank_batches(dataset.iterator(), plan, rank=1, world_size=2))
