"""A stream that cannot move says why, with every CPU really taken, and moves on when it can."""

import pytest
import ray
from patience import patient

from rayox_model.augment.augment_settings import Augment
from rayox_model.core.errors import ClusterError
from rayox_model.core.plan import StreamPlan
from rayox_platform.data.resolve import resolve_split
from rayox_platform.stream.batches import rank_batches
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import stream_dataset
from rayox_platform.stream.stall import Patience, explain_stall, watched

pytestmark = pytest.mark.ray


@ray.remote(num_cpus=2)
class Hog:
    def ready(self):
        return True


@pytest.fixture
def hog(cluster):
    actor = Hog.remote()
    ray.get(actor.ready.remote())
    yield actor
    ray.kill(actor)


@ray.remote(num_cpus=0)
def read(shard, plan, patience, hog=None):
    """As a rank that reads: how many images it got, what it reported, why it gave up. A report ends the hog."""
    reports = []

    def report(cause):
        reports.append(cause)
        if hog:
            ray.kill(hog)

    try:
        batches = rank_batches(shard, plan, 0, 1, report_stall=report, patience=patience)
        return sum(len(batch.images) for batch in batches), reports, None
    except ClusterError as error:
        return 0, reports, error.message


def start_reading(toy_data, patience, hog=None):
    _, images = resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), toy_data)
    plan = StreamPlan(num_images=20, batch_size=4, lanes=2, epochs=1, seed=7, closing_epochs=0)
    dataset = stream_dataset(SampleBlocks(ray.put(images), plan, Augment(), (64, 64)))
    return ray.get(read.remote(dataset.streaming_split(1)[0], plan, patience, hog))


def test_a_stream_without_cpus_gives_up_and_names_them(hog, toy_data):
    _, reports, error = start_reading(toy_data, Patience(report_seconds=4, give_up_seconds=8))
    assert "no training data for 8 s: no node has a CPU free for data tasks (0 of 2 CPUs free" in error
    assert [report.split(":")[0] for report in reports] == ["no training data for 4 s"]


@pytest.mark.faults
def test_a_stream_goes_on_when_the_cpus_come_back(hog, toy_data):
    num_images, reports, error = start_reading(toy_data, Patience(report_seconds=4, give_up_seconds=200), hog)
    assert (num_images, error) == (20, None)
    assert "no node has a CPU free" in reports[0]


def test_placement_groups_are_named(cluster):
    group = ray.util.placement_group([{"CPU": 2}])
    try:
        ray.get(group.ready(), timeout=patient(60))
        assert "placement group(s) of Ray Train or Tune with 2 CPUs" in explain_stall()
    finally:
        ray.util.remove_placement_group(group)


def test_what_a_watched_iterator_gives_and_raises_passes(cluster):
    def source():
        yield 1
        yield 2
        raise KeyError("three")

    stream = watched(source(), Patience(), pytest.fail)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(KeyError, match="three"):
        next(stream)
    assert list(watched(iter("ab"), Patience(), pytest.fail)) == ["a", "b"]
