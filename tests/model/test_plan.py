"""The stream is a pure function of its position: permutations, filling up, lanes, windows, restarts."""

import numpy as np
import pytest

from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.plan import StreamPlan, epoch_permutation, lane_positions, sample_rng, steps_per_epoch


def plan(**changes):
    settings = {"num_images": 37, "batch_size": 16, "lanes": 8, "epochs": 3, "seed": 4, "closing_epochs": 1}
    return StreamPlan(**(settings | changes))


def rows_of_worker(stream, window, rank, num_workers):
    """What a worker gets of a window, step by step: its lanes' parts side by side."""
    lane_size = stream.batch_size // stream.lanes
    lanes = [
        np.stack(stream.rows(window, lane), -1).reshape(-1, lane_size, 3)
        for lane in range(rank, stream.lanes, num_workers)
    ]
    return np.concatenate(lanes, axis=1)  # [S, rows of a worker, (epoch, position, image)]


def batches(stream, num_workers=1):
    """All global batches as sorted rows of (epoch, position, image)."""
    found = []
    for window in range(stream.num_windows):
        workers = [rows_of_worker(stream, window, rank, num_workers) for rank in range(num_workers)]
        found += [sorted(map(tuple, step)) for step in np.concatenate(workers, axis=1).tolist()]
    return found


def test_every_epoch_is_a_permutation_of_its_own():
    orders = [epoch_permutation(0, epoch, 1000) for epoch in range(3)] + [epoch_permutation(1, 0, 1000)]
    assert all((np.sort(order) == np.arange(1000)).all() for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    assert (epoch_permutation(0, 0, 1000) == orders[0]).all()
    assert epoch_permutation(0, 0, 1).tolist() == [0]


def test_samples_have_random_numbers_of_their_own():
    first = {sample_rng(seed, epoch, index).random() for seed in (0, 1) for epoch in (0, 1) for index in range(50)}
    assert len(first) == 200
    assert sample_rng(3, 2, 1).random() == sample_rng(3, 2, 1).random()
    assert sample_rng(2**64 - 1, 2**23 - 1, 2**40 - 1).random() < 1


@pytest.mark.parametrize(("num_images", "batch_size", "steps"), [(37, 16, 3), (32, 16, 2), (1, 16, 1), (33, 16, 3)])
def test_steps_per_epoch(num_images, batch_size, steps):
    assert steps_per_epoch(num_images, batch_size) == steps


def test_an_epoch_is_its_permutation_filled_up_from_its_start():
    stream = plan()
    order = epoch_permutation(4, 1, 37)
    epoch = sorted(row for batch in batches(stream) for row in batch if row[0] == 1)

    assert [row[1] for row in epoch] == list(range(48))
    assert [row[2] for row in epoch] == [*order, *order[:11]]


def test_a_data_set_smaller_than_a_batch_goes_around():
    stream = plan(num_images=3, batch_size=8, epochs=2)
    assert stream.num_steps == 2
    assert [row[2] for row in batches(stream)[0]] == list(np.resize(epoch_permutation(4, 0, 3), 8))


def test_positions_of_lanes_worked_by_hand():
    positions = lane_positions(np.array([0, 2]), lane=1, batch_size=12, lanes=4)
    assert positions.tolist() == [[3, 4, 5], [27, 28, 29]]


@pytest.mark.parametrize("num_workers", [1, 2, 4, 8])
@pytest.mark.parametrize("window_steps", [1, 4, 100])
def test_any_number_of_workers_sees_the_same_batches(num_workers, window_steps):
    assert batches(plan(window_steps=window_steps), num_workers) == batches(plan(window_steps=3))


@pytest.mark.parametrize("start_step", range(10))
def test_a_restart_goes_on_where_the_uninterrupted_stream_is(start_step):
    assert batches(plan(start_step=start_step, window_steps=2)) == batches(plan())[start_step:]


def test_windows():
    stream = plan(start_step=2, window_steps=3)
    assert stream.steps_per_epoch == 3
    assert stream.num_steps == 9
    assert [list(stream.steps(window)) for window in range(stream.num_windows)] == [[2], [3, 4, 5], [6, 7, 8]]
    assert [stream.window_of(step) for step in range(2, 9)] == [0, 1, 1, 1, 2, 2, 2]
    assert (
        [len(stream.rows(window, 0).image) for window in range(3)] == [2, 6, 6] == list(map(stream.num_rows, range(3)))
    )
    short = [[0], [1, 2], [3, 4, 5, 6, 7, 8]]
    for cut, windows in ((4, [[0], [1, 2, 3], [4, 5, 6, 7, 8]]), (5, short), (20, short)):
        stream = plan(window_steps=cut)
        assert [list(stream.steps(window)) for window in range(stream.num_windows)] == windows
    late = plan(start_step=7, window_steps=4)
    assert [list(late.steps(window)) for window in range(late.num_windows)] == [[7, 8]]
    long = plan(epochs=20, start_step=5, window_steps=16)
    assert [list(long.steps(window)) for window in range(4)] == [[5], [6, 7], [*range(8, 16)], [*range(16, 32)]]
    assert plan(start_step=9).num_windows == 0
    assert plan(epochs=0).num_windows == 0


@pytest.mark.parametrize("start_step", range(0, 57, 3))
@pytest.mark.parametrize("window_steps", [1, 2, 5, 16, 40, 100])
def test_windows_follow_each_other_and_never_get_shorter(start_step, window_steps):
    stream = plan(epochs=20, start_step=start_step, window_steps=window_steps)
    windows = [stream.steps(window) for window in range(stream.num_windows)]
    assert [step for window in windows for step in window] == list(range(start_step, 60))
    assert [stream.window_of(step) for window in windows for step in window] == [
        number for number, window in enumerate(windows) for _ in window
    ]
    lengths = list(map(len, windows))
    assert lengths == sorted(lengths)
    assert lengths[0] == 1 or start_step + 2 == min((start_step // window_steps + 1) * window_steps, 60)


def test_rows_of_a_lane_come_step_by_step():
    rows = plan(window_steps=9).rows(2, 3)  # of steps 3 to 8
    assert rows.epoch.tolist() == [1] * 6 + [2] * 6
    assert rows.position.tolist() == [6, 7, 22, 23, 38, 39] * 2


def test_closing_epochs_are_not_strong():
    assert [plan(epochs=5, closing_epochs=2).strong(epoch) for epoch in range(5)] == [True, True, True, False, False]
    assert all(plan(closing_epochs=0).strong(epoch) for epoch in range(3))
    assert not any(plan(closing_epochs=9).strong(epoch) for epoch in range(3))


def test_lanes_that_do_not_divide_the_batch():
    with pytest.raises(ConfigError) as error:
        plan(batch_size=12)
    assert error.value.message == "train.batch_size 12 is not a multiple of data.lanes 8"
    assert error.value.hint == "set data.lanes to 6, or train.batch_size to 16"
    with pytest.raises(ConfigError) as error:
        plan(batch_size=3)
    assert error.value.hint == "set data.lanes to 3, or train.batch_size to 8"


def test_no_images():
    with pytest.raises(DataError, match="no images"):
        plan(num_images=0)
