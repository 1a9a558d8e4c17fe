"""Lanes of ranks, worked by hand and as properties; that Ray deals so is shown in tests/ray."""

import pytest

from rayox_model.core.errors import ConfigError
from rayox_model.core.plan import StreamPlan
from rayox_platform.stream.lane_assignment import deal


def plan(lanes=8, **changes):
    settings = {"num_images": 50, "batch_size": 4 * lanes, "epochs": 7, "seed": 4, "closing_epochs": 0} | changes
    return StreamPlan(lanes=lanes, **settings)


def test_three_ranks_share_eight_lanes_in_turn():
    first, second, third, fourth, *_ = deal(plan(window_steps=1), 3)
    assert first == ((0, 3, 6), (1, 4, 7), (2, 5))
    assert second == ((1, 4, 7), (2, 5), (0, 3, 6))
    assert third == ((2, 5), (0, 3, 6), (1, 4, 7))
    assert fourth == first


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_ranks_that_divide_the_lanes_keep_theirs(world_size):
    own = tuple(tuple(range(rank, 8, world_size)) for rank in range(world_size))
    windows = list(deal(plan(window_steps=5), world_size))
    assert windows == [own] * plan(window_steps=5).num_windows
    assert len(windows) > 1


@pytest.mark.slow
@pytest.mark.parametrize("lanes", range(1, 13))
@pytest.mark.parametrize("window_steps", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("start_step", [0, 1, 4])
def test_every_lane_goes_to_one_rank_and_no_rank_is_idle(lanes, window_steps, start_step):
    stream = plan(lanes, window_steps=window_steps, start_step=start_step)
    for world_size in range(1, lanes + 1):
        for window in deal(stream, world_size):
            assert sorted(lane for rank in window for lane in rank) == list(range(lanes))
            assert all(len(rank) >= 1 for rank in window)
            assert max(map(len, window)) <= min(map(len, window)) + 1


def test_more_ranks_than_lanes():
    with pytest.raises(ConfigError, match="9 workers share the 8 lanes"):
        next(deal(plan(), 9))
