"""Events in a bucket: in order, at most one segment a second, kept while the store is away, followed."""

import time

import pytest
from patience import wait_until

from rayox_platform.runs.bucket_events import PROGRESS_SECONDS, SEGMENT_SECONDS, BucketEvents
from rayox_platform.runs.event_kinds import CheckpointFailed, Epoch, Progress, Start, Urgent
from rayox_platform.runs.events import Follower

pytestmark = pytest.mark.slow


def numbers(events):
    return [event.step for event in events]


def progress(step):
    rates = {"learning_rate": 0.01, "data_seconds": 0.0, "images_per_second": 20.0, "data_wait_fraction": 0.1}
    return Progress(step=step, epoch=0, loss_total=9.0, **rates)


def test_they_come_back_in_order_over_several_starts(bucket):
    events = BucketEvents(bucket)
    assert events.read() == []
    for start in range(2):
        log = events.log()
        for number in range(3):
            log.write(Epoch(step=10 * start + number, epoch=0, metrics={}))
        log.flush()
        time.sleep(0.01)
    assert numbers(events.read()) == [0, 1, 2, 10, 11, 12]


def test_a_second_has_one_segment_and_progress_alone_waits(bucket):
    events, began = BucketEvents(bucket), time.monotonic()
    log = events.log()
    log.write(Start(step=0))
    wait_until(lambda: bucket.files())
    log.write(progress(1))
    time.sleep(2.0)
    assert len(bucket.files()) == 1
    assert numbers(events.read()) == [0]
    for number in range(2, 60):
        log.write(Urgent(step=number, text=""))
        time.sleep(0.02)
    wait_until(lambda: numbers(events.read()) == list(range(60)))
    assert len(bucket.files()) <= 1 + (time.monotonic() - began) / SEGMENT_SECONDS
    log.write(progress(60))
    wait_until(lambda: numbers(events.read()) == list(range(61)), 2 * PROGRESS_SECONDS)


def test_what_is_told_while_the_store_is_away_comes_later_and_once(bucket, bucket_door):
    """Also when a segment has arrived and only the store's answer was lost."""
    events, seen = BucketEvents(bucket), []
    with Follower(events, seen.append):
        log = events.log()
        log.write(Start(step=0))
        log.flush()
        wait_until(lambda: numbers(seen) == [0])
        bucket_door.lost = lambda method, path: method == "PUT"
        log.write(Epoch(step=1, epoch=0, metrics={}))
        log.flush()
        assert len(bucket.files()) == 2, "it has arrived"
        bucket_door.lost = lambda method, path: False
        bucket_door.refused = lambda method, path: True
        for number in (2, 3):
            log.write(Epoch(step=number, epoch=0, metrics={}))
            log.flush()
        time.sleep(1.5)
        assert numbers(seen) in ([0], [0, 1])
        bucket_door.refused = lambda method, path: False
        log.write(Epoch(step=4, epoch=0, metrics={}))
        wait_until(lambda: numbers(seen) == [0, 1, 2, 3, 4])
        log.write(Epoch(step=5, epoch=0, metrics={}))
        log.flush()
    assert numbers(seen) == [0, 1, 2, 3, 4, 5], "what is left at the end is told too"
    assert numbers(events.read()) == [0, 1, 2, 3, 4, 5]


def test_a_follower_tells_only_what_is_new(bucket):
    events, seen = BucketEvents(bucket), []
    old = events.log()
    old.write(Epoch(step=0, epoch=0, metrics={}))
    old.flush()
    with Follower(events, seen.append):
        new = events.log()
        new.write(Epoch(step=1, epoch=0, metrics={}))
        new.flush()
    assert numbers(seen) == [1]


def test_what_another_process_tells_is_beside_rank_0s_and_is_no_start(bucket):
    """Ray Train's controller tells of a failure between two starts."""
    events, watched = BucketEvents(bucket), []
    tail = events.tail(whole=True)
    for start in (0, 2):
        log = events.log(watched.append)
        log.write(Start(step=start))
        log.flush()
        time.sleep(0.01)
        events.tell(CheckpointFailed(step=start + 1, text=""))
        events.tell(CheckpointFailed(step=start + 1, text=""))
        time.sleep(0.01)
    assert numbers(events.read()) == [0, 1, 1, 2, 3, 3]
    assert numbers(tail()) == [0, 1, 1, 2, 3, 3], "also by a reader that came before the first"
    assert events.num_starts() == 2
    assert numbers(watched) == [0, 2]
